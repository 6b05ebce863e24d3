import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { AppError, systemCode } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';

/** nginx as a program and a process; what it serves is asked over its control interface. */

/** nginx reads all certificates and runs the Lua of its start in a test; it takes well below a second. */
const TEST_TIMEOUT_MS = 30_000;

/** @returns nginx's own words about what is wrong with the file, or undefined when it would start with it */
export async function testNginx(path: string): Promise<string | undefined> {
  const { code, stderr } = await runTest(path);
  if (code === 0) return undefined;
  const line = stderr.split('\n').find((text) => /\[(emerg|alert|crit|error)\]/.test(text)) ?? stderr;
  const text = line.replace(/^.*?\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?/, '').trim();
  return text.slice(0, 500) || `nginx -t ended with ${code}`;
}

/** Its output goes nowhere: the access log is `/dev/stdout`, and a socket, which Node makes of a pipe, cannot be opened by that name. */
function runTest(path: string): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('nginx', ['-t', '-q', '-c', path], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: TEST_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-10_000);
    });
    child.on('error', (cause) => reject(new AppError('internal', `nginx could not be started: ${cause.message}`, { cause })));
    child.on('close', (code, signal) => {
      if (signal === null) resolve({ code: code ?? 1, stderr });
      else reject(new AppError('timeout', `nginx -t was ended by ${signal}`));
    });
  });
}

/** @throws AppError `unavailable` when no nginx runs */
export async function reloadNginx(pidFile: string): Promise<void> {
  const pid = Number((await readIfThere(pidFile))?.trim());
  if (!Number.isSafeInteger(pid) || pid < 2 || !(await isNginx(pid))) throw new AppError('unavailable', 'nginx does not run');
  try {
    process.kill(pid, 'SIGHUP');
  } catch (cause) {
    throw new AppError('unavailable', `nginx could not be told to reload: ${systemCode(cause) ?? 'unknown'}`, { cause });
  }
}

/** A pid file may outlive its process, and the pid may be another's by then. */
async function isNginx(pid: number): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'nginx';
  } catch {
    return false;
  }
}

/**
 * Connections that one worker may have: half of what the limit of open files allows, because each request needs two, less what nginx
 * itself has open; never more than 16,384, which costs about 8 MB a worker.
 */
export async function connectionLimit(): Promise<number> {
  const limits = (await readIfThere('/proc/self/limits')) ?? '';
  const soft = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
  return Math.max(256, Math.min(16_384, Math.floor((soft - 128) / 2)));
}
