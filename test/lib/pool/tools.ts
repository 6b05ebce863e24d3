import { spawnSync } from 'node:child_process';
import { AppError } from '#core/errors.ts';

/**
 * Runs a short system program and waits for it, blocking: making and removing a pool's plumbing takes milliseconds a call, and removing
 * must also work in an exit handler.
 *
 * @throws AppError `internal` with what the program said, unless `tolerate`
 */
export function tool(file: string, args: readonly string[], { tolerate = false }: { tolerate?: boolean } = {}): string {
  const result = spawnSync(file, args, { encoding: 'utf8', timeout: 60_000, stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.error && !tolerate)
    throw new AppError('internal', `${file} could not be run: ${result.error.message}`, { cause: result.error });
  if (result.status !== 0 && !tolerate) {
    throw new AppError('internal', `${file} ${args.join(' ')} ended with ${result.status ?? result.signal}: ${result.stderr.trim()}`);
  }
  return result.stdout ?? '';
}
