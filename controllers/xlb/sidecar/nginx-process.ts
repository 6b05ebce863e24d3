import { readFile } from 'node:fs/promises';
import { AppError, systemCode } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';
import { run } from '#core/spawn.ts';

/** nginx as a program and a process; what it serves is asked over its control interface. */

/** @returns nginx's own words about what is wrong with the file, or undefined when it would start with it */
export async function testNginx(path: string): Promise<string | undefined> {
  const { code, stdout, stderr } = await run('nginx', ['-t', '-q', '-c', path], { timeoutMs: 30_000 });
  if (code === 0) return undefined;
  const lines = `${stderr}\n${stdout}`.split('\n').filter((text) => /\[(emerg|alert|crit|error)\]/.test(text));
  const text = (lines[0] ?? `${stderr}${stdout}`).replace(/^.*?\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?/, '').trim();
  return text.slice(0, 500) || `nginx -t ended with ${code}`;
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
