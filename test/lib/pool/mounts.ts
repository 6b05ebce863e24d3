import { readFileSync, rmSync } from 'node:fs';
import { AppError } from '#core/errors.ts';
import { tool } from './tools.ts';

/** Mount points at or below a folder, the deepest first. @param text of /proc/self/mountinfo */
export function mountsBelow(dir: string, text: string): string[] {
  return text
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .reverse();
}

/** Takes away all mounts at or below a folder, also busy ones. */
export function unmountBelow(dir: string): void {
  for (let round = 0; round < 5; round++) {
    const paths = mountsBelow(dir, readFileSync('/proc/self/mountinfo', 'utf8'));
    if (paths.length === 0) return;
    for (let at = 0; at < paths.length; at += 200) tool('umount', ['-l', ...paths.slice(at, at + 200)], { tolerate: true });
  }
}

/**
 * Removes a folder that held mounts. What is mounted there may be somebody else's files, so nothing is removed while a mount is left.
 *
 * @throws AppError `internal` naming the mounts that stay
 */
export function removeTree(dir: string): void {
  unmountBelow(dir);
  const left = mountsBelow(dir, readFileSync('/proc/self/mountinfo', 'utf8'));
  if (left.length > 0) throw new AppError('internal', `not removed, still mounted: ${left.join(', ')}`);
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
