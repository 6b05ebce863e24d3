import { readFileSync } from 'node:fs';
import process from 'node:process';
import { AppError } from '#core/errors.ts';

/**
 * Named points at which a test can let something go wrong. Without the variable `XCAAS_TEST_FAILPOINTS` there is not one, and asking is a lookup in an empty map.
 *
 * The variable is a list of `point=action` parted by commas. A point is `write:<rule>`, `step:<what it does>` or `disk`, each with `:before` or `:after`;
 * an action is `crash` (the sidecar dies as by SIGKILL), `hang` (the sidecar stops turning) or `error`, with `*N` for "only the Nth time": `write:P5:after=crash*1`.
 * `@/path` in place of the list: it stands in that file, read again at every point, so that a test can change it while the sidecar runs; no file is an empty list.
 */
export interface Failpoints {
  at(point: string): Promise<void>;
}

type Action = 'crash' | 'hang' | 'error';

const ENTRY = /^([A-Za-z0-9_]+(?::[A-Za-z0-9_]+)*)=(crash|hang|error)(?:\*(\d{1,6}))?$/;

/** @throws AppError `invalid` naming the part that is not understood: a test whose fault never happens proves nothing */
export function createFailpoints(text: string, die: () => void = () => process.kill(process.pid, 'SIGKILL')): Failpoints {
  if (!text.startsWith('@')) return fixedFailpoints(text, die);
  let known = { text: '', points: fixedFailpoints('', die) };
  return {
    async at(point) {
      const now = readList(text.slice(1));
      if (now !== known.text) known = { text: now, points: fixedFailpoints(now, die) };
      await known.points.at(point);
    },
  };
}

function readList(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function fixedFailpoints(text: string, die: () => void): Failpoints {
  const points = new Map<string, { action: Action; nth: number | undefined; met: number }>();
  for (const part of text.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const [, point, action, nth] = ENTRY.exec(part) ?? [];
    if (point === undefined) throw new AppError('invalid', `"${part}" is no fail point`, { hint: 'write it like write:P5:after=crash' });
    points.set(point, { action: action as Action, nth: nth === undefined ? undefined : Number(nth), met: 0 });
  }
  return {
    async at(point) {
      const found = points.get(point);
      if (found === undefined) return;
      found.met += 1;
      if (found.nth !== undefined && found.met !== found.nth) return;
      if (found.action === 'error') throw new AppError('internal', `the test wants ${point} to fail`);
      if (found.action === 'crash') die();
      // A frozen process answers nobody and pets nobody; its timers must not run on either.
      if (found.action === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      await new Promise(() => undefined);
    },
  };
}
