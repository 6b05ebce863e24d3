import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import { parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop, type LoopState } from '#core/loop.ts';

export interface ObjectLoopsOptions {
  /** `lb`, `db`, …: objects are the names that have a record `xcaas/<kind>/<name>/spec`. */
  kind: string;
  consul: ConsulClient;
  log: Logger;
  /** Milliseconds between full passes over an object when nothing was seen to change. */
  intervalMs: number;
  /**
   * What of a record is worth a look when it changes: a text that stays the same for what only moves with time, undefined for what is never. Its
   * modify index, when not given.
   */
  worth?(entry: KvEntry): string | number | undefined;
  /** One pass over one object. @returns the sentence */
  cycle(name: string, signal: AbortSignal): Promise<string>;
  signal: AbortSignal;
}

export interface ObjectLoops {
  markDirty(name: string): void;
  /** Every object is looked at again: something common to all changed. */
  markAllDirty(): void;
  /** The loops that turn now, by `kind/name`. */
  states(): Record<string, { alive: boolean; last: LoopState | undefined }>;
  /** Ends when the signal aborts and every running pass has ended. */
  run(): Promise<void>;
}

/**
 * A reconcile loop for each object of a kind. Records that change mark their object dirty; what they say is read anew by its pass. An object whose
 * records are gone has its loop stopped.
 */
export function createObjectLoops({ kind, consul, log, intervalMs, worth = byIndex, cycle, signal }: ObjectLoopsOptions): ObjectLoops {
  const loops = new Map<string, Loop>();
  const stopping: Promise<void>[] = [];
  const prefix = `xcaas/${kind}/`;
  let seen = new Map<string, string | number | undefined>();

  function follow(indexes: Map<string, string | number | undefined>, names: Set<string>): void {
    for (const name of names) {
      if (loops.has(name)) continue;
      const loop = createLoop({ name: `${kind}/${name}`, log, intervalMs, cycle: (stop) => cycle(name, stop) });
      loops.set(name, loop);
      loop.start();
    }
    for (const [key, index] of indexes) if (seen.get(key) !== index) loops.get(nameOf(key))?.markDirty();
    for (const key of seen.keys()) if (!indexes.has(key)) loops.get(nameOf(key))?.markDirty();
    for (const [name, loop] of loops) {
      if (names.has(name)) continue;
      loops.delete(name);
      stopping.push(loop.stop());
    }
    seen = indexes;
  }

  /** The controller's own writes are no reason to look again. */
  const isOwn = (key: string) => key.endsWith('/status');
  const nameOf = (key: string) => key.slice(prefix.length).split('/')[0] ?? '';

  return {
    markDirty: (name) => loops.get(name)?.markDirty(),
    markAllDirty() {
      for (const loop of loops.values()) loop.markDirty();
    },
    states: () => Object.fromEntries([...loops].map(([name, loop]) => [`${kind}/${name}`, { alive: loop.alive(), last: loop.last() }])),
    async run() {
      await watchConsul({
        consul,
        path: `/v1/kv/${prefix}`,
        query: { recurse: true },
        parse: (answer) => parseKv(answer, `the keys under ${prefix}`),
        onChange(entries) {
          const indexes = new Map(entries.filter(({ key }) => !isOwn(key)).map((entry) => [entry.key, worth(entry)]));
          const names = entries.filter(({ key }) => /^[^/]+\/spec$/.test(key.slice(prefix.length))).map(({ key }) => nameOf(key));
          follow(indexes, new Set(names));
        },
        log,
        signal,
      });
      await Promise.all([...stopping, ...[...loops.values()].map((loop) => loop.stop())]);
    },
  };
}

const byIndex = ({ modifyIndex }: KvEntry) => modifyIndex;
