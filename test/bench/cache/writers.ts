import type { Cluster, Redis } from 'ioredis';
import { sleep } from '#core/sleep.ts';

/**
 * Clients that write without a pause, each one command at a time. What was acknowledged and what failed is counted, and for how long nobody had an acknowledgement. Each writer goes round over
 * its own keys, so that a long run fills no memory; what was acknowledged last of each key is held against what is there.
 */
export interface Writers {
  readonly tried: number;
  readonly acked: number;
  readonly failures: string[];
  /** Begins to measure anew. */
  mark(): void;
  /** Milliseconds since the mark: the longest time in which no writer had an acknowledgement, and the slowest command that was acknowledged. */
  longestMs(): number;
  slowestMs(): number;
  /** Returns when something that was asked for after this call was acknowledged. */
  flowing(): Promise<void>;
  /** With all writers at rest: keys whose last acknowledged value is not there. A value that was asked for later and not answered may be. */
  missing(reader: Redis | Cluster): Promise<string[]>;
  stop(): Promise<void>;
}

export interface WritersOptions {
  clients: readonly (Redis | Cluster)[];
  /** Writers of each client. */
  each?: number;
  /** Milliseconds between two commands of a writer. */
  thinkMs?: number;
  /** What its keys begin with; each writer has so many of them. */
  prefix: string;
  ring?: number;
  /** Bytes of a value beside its number. */
  valueBytes?: number;
  /** What a client is told after a command of its that failed. */
  onFailure?(client: Redis | Cluster, error: unknown): void;
}

/** Between a command that failed and the next one, in milliseconds. */
const AFTER_FAILURE_MS = 10;
const FLOWS_WITHIN_MS = 60_000;
const BATCH = 500;

export function startWriters({ clients, each = 1, thinkMs = 0, prefix, ring = 1000, valueBytes = 0, onFailure }: WritersOptions): Writers {
  let [stopped, resting, tried, acked] = [false, false, 0, 0];
  let [longest, slowest, lastAck] = [0, 0, performance.now()];
  const failures: string[] = [];
  const padding = 'x'.repeat(valueBytes);
  /** Of each key the number acknowledged last. */
  const known = new Map<string, number>();
  let atRest = 0;

  async function write(client: Redis | Cluster, name: string): Promise<void> {
    for (let number = 1; !stopped; number += 1) {
      if (resting) {
        atRest += 1;
        while (resting && !stopped) await sleep(5);
        atRest -= 1;
        if (stopped) return;
      }
      const key = `${name}:${number % ring}`;
      const began = performance.now();
      tried += 1;
      try {
        await client.set(key, `${number} ${padding}`);
        const now = performance.now();
        acked += 1;
        known.set(key, number);
        longest = Math.max(longest, now - lastAck);
        slowest = Math.max(slowest, now - began);
        lastAck = now;
      } catch (error) {
        failures.push(String(error));
        onFailure?.(client, error);
        await sleep(AFTER_FAILURE_MS);
      }
      if (thinkMs > 0) await sleep(thinkMs);
    }
  }

  const names = clients.flatMap((client, at) => Array.from({ length: each }, (_, index) => ({ client, name: `${prefix}:${at}.${index}` })));
  const running = names.map(({ client, name }) => write(client, name));

  const self: Writers = {
    get tried() {
      return tried;
    },
    get acked() {
      return acked;
    },
    failures,
    mark() {
      [longest, slowest, lastAck] = [0, 0, performance.now()];
    },
    longestMs: () => Math.max(longest, performance.now() - lastAck),
    slowestMs: () => slowest,
    async flowing() {
      const [before, until] = [acked + names.length, performance.now() + FLOWS_WITHIN_MS];
      // Each may have one under way.
      while (acked <= before) {
        if (performance.now() > until)
          throw new Error(`nothing was written for ${FLOWS_WITHIN_MS / 1000} s: ${failures.at(-1) ?? 'no answer'}`);
        await sleep(5);
      }
    },
    async missing(reader) {
      resting = true;
      try {
        while (atRest < names.length && !stopped) await sleep(5);
        const lost: string[] = [];
        const keys = [...known];
        for (let first = 0; first < keys.length; first += BATCH) {
          const part = keys.slice(first, first + BATCH);
          const values = await Promise.all(part.map(([key]) => reader.get(key)));
          part.forEach(([key, number], index) => {
            if (Number((values[index] ?? '0').split(' ')[0]) < number) lost.push(key);
          });
        }
        // They are counted once.
        for (const key of lost) known.delete(key);
        return lost;
      } finally {
        resting = false;
        lastAck = performance.now();
      }
    },
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
  return self;
}
