import { spawn } from 'node:child_process';
import process from 'node:process';
import { AppError } from '#core/errors.ts';

export interface SpawnResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  input?: string;
  group?: boolean;
}

/**
 * Runs a program without a shell and collects what it says.
 *
 * @param timeoutMs after it the program is killed; what it started itself and left running does not hold up the answer
 * @param group the programs that it starts are killed with it
 * @throws AppError `timeout`, or `internal` when the program could not be started
 */
export function run(
  file: string,
  args: readonly string[],
  { timeoutMs = 60_000, env, cwd, input, group = false }: RunOptions = {},
): Promise<SpawnResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: group, ...(env ? { env } : {}), ...(cwd ? { cwd } : {}) });
    let stdout = '';
    let stderr = '';
    const timer = setTimeout(() => {
      if (group && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      else child.kill('SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
      reject(new AppError('timeout', `${file} ${args[0] ?? ''} did not end within ${timeoutMs} ms`));
    }, timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new AppError('internal', `${file} could not be started: ${cause.message}`, { cause }));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? (signal === null ? 1 : 128), stdout, stderr });
    });
  });
}
