import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { parseRecord } from '#core/consul/records.ts';
import { hasCode, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { applyChanges, type KvChange, MAX_CHANGES, type PoolConsul } from '#pool/guard.ts';

export const EVENTS_PREFIX = 'xcaas/events/';

/** What happened to one object. */
export const PoolEvent = z.object({
  v: z.literal(1),
  /** Its key below the prefix; keys sort by time. */
  id: z.string(),
  /** RFC 3339, UTC, when it happened first. */
  time: z.string(),
  /** When it happened last; with `count` above 1. */
  last: z.string().optional(),
  /** `lb/web`, `host/host-a`, … */
  object: z.string(),
  /** One word for programs: `placed`, `host_lost`, … */
  kind: z.string().regex(/^[a-z0-9_]{1,64}$/),
  /** Why it was done, in a few words. */
  reason: z.string(),
  sentence: z.string(),
  count: z.number().int().min(1).default(1),
});
export type PoolEvent = z.infer<typeof PoolEvent>;
export type NewEvent = Pick<PoolEvent, 'object' | 'kind' | 'reason' | 'sentence'>;

export interface Events {
  /** Writes it down. Never throws: an event that is lost stops nobody; it is logged. */
  record(event: NewEvent): Promise<void>;
  /** Writes the counts that have not been written yet. */
  flush(): Promise<void>;
}

/** The same sentence about the same object within this time is counted, not written again. */
export const REPEAT_WINDOW_MS = 60_000;
/** Counts are written at most this often. */
const COUNT_DELAY_MS = 5000;
/** Longest sentence kept: errors of engines can be pages. */
const MAX_SENTENCE = 2000;

interface Recent {
  event: PoolEvent;
  firstMs: number;
  dirty: boolean;
}

export function createEvents({ consul, log, now = Date.now }: { consul: PoolConsul; log: Logger; now?: () => number }): Events {
  const recent = new Map<string, Recent>();
  let timer: NodeJS.Timeout | undefined;
  let sequence = 0;

  const write = async (each: Recent): Promise<void> => {
    each.dirty = false;
    const key = `${EVENTS_PREFIX}${each.event.id}`;
    try {
      const index = (await consul.kv.get(key))?.modifyIndex;
      // Pruned meanwhile: it does not come back.
      if (index === undefined) return;
      await consul.kv.cas(key, JSON.stringify(each.event), index);
    } catch (error) {
      log.warn({ err: toAppError(error).message, object: each.event.object }, 'the count of an event could not be written');
    }
  };
  const flush = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    await Promise.all([...recent.values()].filter((each) => each.dirty).map(write));
  };
  const countLater = () => {
    timer ??= setTimeout(() => void flush(), COUNT_DELAY_MS).unref();
  };

  return {
    flush,
    async record({ object, kind, reason, sentence }) {
      const at = now();
      const time = new Date(at).toISOString();
      for (const [key, each] of recent) {
        if (at - each.firstMs < REPEAT_WINDOW_MS) continue;
        recent.delete(key);
        if (each.dirty) await write(each);
      }
      const key = JSON.stringify([object, kind, sentence]);
      const before = recent.get(key);
      if (before !== undefined) {
        before.event = { ...before.event, count: before.event.count + 1, last: time };
        before.dirty = true;
        countLater();
        return;
      }
      // Those of one millisecond keep their order by the number; other writers' are told apart by the random part.
      sequence += 1;
      const id = `${time}-${String(sequence % 1e6).padStart(6, '0')}-${randomBytes(4).toString('hex')}`;
      const event: PoolEvent = { v: 1, id, time, object, kind, reason, sentence: sentence.slice(0, MAX_SENTENCE), count: 1 };
      // Before the write: the same event from a parallel caller is a repetition already.
      recent.set(key, { event, firstMs: at, dirty: false });
      try {
        await consul.kv.put(`${EVENTS_PREFIX}${id}`, JSON.stringify(event));
      } catch (error) {
        recent.delete(key);
        log.warn({ object, reason, sentence, err: toAppError(error).message }, 'an event could not be written');
      }
    },
  };
}

/**
 * Events in the order of time.
 *
 * @param since only those at this RFC 3339 time or later
 * @param after only those after this id, for whoever follows
 */
export async function listEvents(
  consul: Pick<PoolConsul, 'kv'>,
  { since, after, object }: { since?: string; after?: string; object?: string } = {},
): Promise<PoolEvent[]> {
  const from = since === undefined ? undefined : new Date(since).toISOString();
  const entries = await consul.kv.list(EVENTS_PREFIX);
  return entries
    .filter(({ key }) => after === undefined || key.slice(EVENTS_PREFIX.length) > after)
    .flatMap((entry) => readEvent(entry))
    .filter((event) => (from === undefined || (event.last ?? event.time) >= from) && (object === undefined || event.object === object))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * Removes all but the newest events; the leader's job.
 *
 * @returns how many were removed
 */
export async function pruneEvents(consul: PoolConsul, keep = 1000): Promise<number> {
  const keys = (await consul.kv.list(EVENTS_PREFIX)).map(({ key }) => key).sort();
  const old = keys.slice(0, Math.max(0, keys.length - keep));
  for (let at = 0; at < old.length; at += MAX_CHANGES) {
    const changes = old.slice(at, at + MAX_CHANGES).map((key): KvChange => ({ verb: 'delete', key }));
    await applyChanges(consul, changes);
  }
  return old.length;
}

/** One event that cannot be read (of a later version, say) must not hide the others. */
function readEvent(entry: { key: string; value: string }): PoolEvent[] {
  try {
    return [parseRecord(PoolEvent, entry)];
  } catch (error) {
    if (hasCode(error, 'internal')) return [];
    throw error;
  }
}
