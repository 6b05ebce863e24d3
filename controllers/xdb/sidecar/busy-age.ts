import type { EngineFacts } from '#xdb/engine/engine.ts';

/** Milliseconds since a slave was last seen to have everything that its master has; Infinity before it was, 0 for one that does not receive. */
export function createBusyAge(now: () => number = () => performance.now()) {
  let whole: { of: string; at: number } | undefined;
  return ({ instance, slave }: Pick<EngineFacts, 'instance' | 'slave'>): number => {
    if (slave?.io !== 'running') {
      whole = undefined;
      return 0;
    }
    const of = `${instance} ${slave.masterHost}:${slave.masterPort}`;
    if (!slave.receiving) whole = { of, at: now() };
    return whole?.of === of ? now() - whole.at : Number.POSITIVE_INFINITY;
  };
}
