import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import { infoFields } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';

/** What an engine is asked for people: slow commands, large keys, keys that are read often. Each in small steps on a connection of its own, so that clients hardly wait. */

export interface SlowCommand {
  id: number;
  time: string;
  micros: number;
  /** As the engine keeps it: long arguments are cut. */
  command: string[];
  client: string;
  clientName: string;
}

export interface KeyReport {
  /** `bytes` of memory, or how often it is read on the engine's own scale from 0 to 255. */
  keys: { db: number; key: string; type: string; value: number }[];
  scanned: number;
  total: number;
  /** Every key was looked at; else `next` goes on where this one has ended. */
  complete: boolean;
  next: string | null;
  ms: number;
}

export interface SurveyOptions {
  what: 'bytes' | 'reads';
  /** Keys in the answer. */
  limit: number;
  /** Milliseconds after which it ends with what it has. */
  budgetMs: number;
  /** Of an answer before. */
  from?: string | undefined;
  signal: AbortSignal;
}

const BATCH = 100;
/** Elements of a large value that its size is reckoned from. */
const SAMPLES = 5;
/** Of the engine's time, at most. */
const SHARE = 0.2;

export async function slowLog(session: EngineSession, count: number): Promise<SlowCommand[]> {
  const entries = (await session.call('SLOWLOG', 'GET', count)) as [number, number, number, string[], string?, string?][];
  return entries.map(([id, time, micros, command, client = '', clientName = '']) => ({
    ...{ id, time: new Date(time * 1000).toISOString(), micros, client, clientName },
    command: command.map(String),
  }));
}

/**
 * Looks at keys one after another until all were seen or the time is over.
 *
 * @throws AppError `conflict` when reads are asked for and the engine does not count them
 */
export async function survey(session: EngineSession, { what, limit, budgetMs, from, signal }: SurveyOptions): Promise<KeyReport> {
  if (what === 'reads') await expectCounted(session);
  const began = performance.now();
  const databases = await databasesOf(session);
  const total = databases.reduce((sum, { keys }) => sum + keys, 0);
  const top: KeyReport['keys'] = [];
  let [startDb, cursor] = readPlace(from);
  let scanned = 0;
  for (const { db } of databases.filter((each) => each.db >= startDb)) {
    if (db !== startDb) cursor = '0';
    await session.call('SELECT', db);
    do {
      const turn = performance.now();
      const [next, keys] = (await session.call('SCAN', cursor, 'COUNT', BATCH)) as [string, string[]];
      const values = await Promise.all(keys.map((key) => measure(session, what, key)));
      cursor = next;
      scanned += keys.length;
      for (const [index, key] of keys.entries()) keep(top, { db, key, type: '', value: values[index] ?? 0 }, limit);
      if (cursor !== '0' && (performance.now() - began > budgetMs || signal.aborted))
        return finished({ complete: false, next: `${db}:${cursor}` });
      const busy = performance.now() - turn;
      await sleep(Math.max(1, busy / SHARE - busy), signal);
    } while (cursor !== '0');
    startDb = db + 1;
  }
  return finished({ complete: from === undefined, next: null });

  async function finished(end: { complete: boolean; next: string | null }): Promise<KeyReport> {
    for (const each of top) {
      await session.call('SELECT', each.db);
      each.type = String(await session.call('TYPE', each.key));
    }
    return { keys: top, scanned, total, ...end, ms: Math.round(performance.now() - began) };
  }
}

async function expectCounted(session: EngineSession): Promise<void> {
  const [, policy = ''] = (await session.call('CONFIG', 'GET', 'maxmemory-policy')) as string[];
  if (policy.endsWith('-lfu')) return;
  throw new AppError('conflict', `reads of keys are not counted with maxmemory-policy=${policy}`, {
    hint: 'they are with an LFU policy, from then on: cache set NAME maxmemory-policy=allkeys-lfu',
  });
}

async function databasesOf(session: EngineSession): Promise<{ db: number; keys: number }[]> {
  const fields = infoFields(String(await session.call('INFO', 'keyspace')));
  return [...fields].flatMap(([name, value]) => {
    const db = /^db(\d+)$/.exec(name)?.[1];
    return db === undefined ? [] : [{ db: Number(db), keys: Number(/keys=(\d+)/.exec(value)?.[1] ?? 0) }];
  });
}

async function measure(session: EngineSession, what: SurveyOptions['what'], key: string): Promise<number> {
  const asked = what === 'bytes' ? session.call('MEMORY', 'USAGE', key, 'SAMPLES', SAMPLES) : session.call('OBJECT', 'FREQ', key);
  // It may be gone by now.
  const value = await asked.catch((error: unknown) =>
    error instanceof AppError && error.code === 'engine' ? null : Promise.reject(error),
  );
  return Number(value ?? 0);
}

/** Pure but for `top`: the largest of all that were seen, largest first. */
export function keep(top: KeyReport['keys'], one: KeyReport['keys'][number], limit: number): void {
  if (top.length >= limit && one.value <= (top.at(-1)?.value ?? 0)) return;
  const at = top.findIndex(({ value }) => value < one.value);
  // SCAN may give a key twice.
  if (top.some(({ db, key }) => db === one.db && key === one.key)) return;
  top.splice(at < 0 ? top.length : at, 0, one);
  top.length = Math.min(top.length, limit);
}

/** @throws AppError `invalid` */
function readPlace(text: string | undefined): [number, string] {
  if (text === undefined) return [0, '0'];
  const match = /^(\d{1,4}):(\d{1,20})$/.exec(text);
  if (match === null) throw new AppError('invalid', `${JSON.stringify(text.slice(0, 40))} is no place to go on from`);
  return [Number(match[1]), match[2] ?? '0'];
}

const SlowQuery = z.object({ count: z.coerce.number().int().min(1).max(1000).default(50) });
const KeysQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  seconds: z.coerce.number().min(1).max(30).default(5),
  from: z.string().max(40).optional(),
});

/** @param connect to this member's engine, as its sidecar */
export function reportRoutes(connect: () => Promise<EngineSession>): AdminRoute[] {
  let running = false;

  async function withSession<T>(action: (session: EngineSession) => Promise<T>): Promise<T> {
    const session = await connect();
    try {
      return await action(session);
    } finally {
      session.close();
    }
  }

  const keys = (path: string, what: SurveyOptions['what']): AdminRoute => ({
    method: 'GET',
    path,
    async handle({ query, signal }) {
      const { limit, seconds, from } = validate(KeysQuery, Object.fromEntries(query), 'the request');
      if (running) throw new AppError('conflict', 'this member looks at its keys already', { hint: 'try again when that has ended' });
      running = true;
      try {
        return { body: await withSession((session) => survey(session, { what, limit, budgetMs: seconds * 1000, from, signal })) };
      } finally {
        running = false;
      }
    },
  });

  return [
    {
      method: 'GET',
      path: '/report/slow-log',
      async handle({ query }) {
        const { count } = validate(SlowQuery, Object.fromEntries(query), 'the request');
        return { body: { commands: await withSession((session) => slowLog(session, count)) } };
      },
    },
    keys('/report/big-keys', 'bytes'),
    keys('/report/hot-keys', 'reads'),
  ];
}
