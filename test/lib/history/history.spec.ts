import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../random.ts';
import { type Line, openJournal, parseJournal } from './journal.ts';
import { parseBatch, readState } from './state.ts';
import { runWorker, type Session, SqlRefused } from './worker.ts';
import { ackTimes, writable } from './writable.ts';

describe('random numbers', () => {
  it('are the same for the same seed, whatever a fork takes', () => {
    const [a, b] = [createRandom(7), createRandom(7)];
    const fork = a.fork('part');
    for (let i = 0; i < 10; i++) fork.next();
    expect([a.next(), a.between(1, 6), a.shuffled([1, 2, 3])]).toEqual([b.next(), b.between(1, 6), b.shuffled([1, 2, 3])]);
    expect(createRandom(7).fork('part').next()).toBe(createRandom(7).fork('part').next());
    expect(createRandom(7).fork('other').next()).not.toBe(createRandom(7).fork('part').next());
  });

  it('keep to their bounds', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: -50, max: 50 }), fc.nat(20), (seed, low, more) => {
        const random = createRandom(seed);
        const x = random.between(low, low + more);
        expect(x).toBeGreaterThanOrEqual(low);
        expect(x).toBeLessThanOrEqual(low + more);
        expect(random.shuffled([3, 1, 2]).sort()).toEqual([1, 2, 3]);
      }),
    );
  });
});

describe('a journal', () => {
  const start: Line = { k: 'start', client: 'c', at: 1, time: '2024-01-01T00:00:00.000Z' };
  const begin = (s: number): Line => ({ k: 'begin', w: 1, s, n: 2, r: 3, chain: true, at: 10 * s });
  const text = (...lines: Line[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

  it('is on disk line by line, and says of each transaction what its client knows', () => {
    const folder = mkdtempSync(join(tmpdir(), 'xcaas-journal-'));
    try {
      const path = join(folder, 'c.jsonl');
      const journal = openJournal(path);
      journal.write(start);
      for (const s of [1, 2, 3, 4]) journal.write(begin(s));
      journal.write({ k: 'acked', w: 1, s: 1, at: 11, srv: 5, ep: 2, p: 0, gtid: '0-5-1' });
      journal.write({ k: 'refused', w: 1, s: 2, at: 21, why: 'read-only' });
      journal.write({ k: 'unknown', w: 1, s: 3, at: 31, why: 'reset' });
      expect(parseJournal(readFileSync(path, 'utf8'))).toMatchObject([
        {
          client: 'c',
          seq: 1,
          rows: 2,
          round: 3,
          outcome: 'acked',
          beganAt: 10,
          endedAt: 11,
          server: 5,
          epoch: 2,
          previous: 0,
          gtid: '0-5-1',
        },
        { seq: 2, outcome: 'refused', why: 'read-only' },
        { seq: 3, outcome: 'unknown', why: 'reset', endedAt: 31 },
        { seq: 4, outcome: 'unknown', why: 'the client died', endedAt: undefined },
      ]);
      expect(() => openJournal(path)).toThrow(/EEXIST/);
      journal.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('may end in the middle of a line, and nowhere else', () => {
    const whole = text(start, begin(1), { k: 'acked', w: 1, s: 1, at: 11 });
    for (let cut = text(start, begin(1)).length; cut < whole.length; cut++) {
      expect(parseJournal(whole.slice(0, cut))).toMatchObject([{ seq: 1, outcome: 'unknown' }]);
    }
    expect(() => parseJournal(`${text(start)}{"k":"begin"\n${text(begin(2))}`)).toThrow(/line 2/);
    expect(() => parseJournal(text(start, begin(1), begin(1)))).toThrow(/twice/);
    expect(() => parseJournal(text(start, { k: 'acked', w: 1, s: 1, at: 1 }))).toThrow(/never began/);
  });
});

describe('a worker', () => {
  /** Runs until so many transactions have an outcome; `fail` says what becomes of a statement, counted over all. */
  async function run(transactions: number, fail: (sql: string, at: number) => Error | undefined, kind: 'steady' | 'fresh' = 'steady') {
    const lines: Line[] = [];
    const statements: string[] = [];
    const stop = new AbortController();
    let [outcomes, connections, closed] = [0, 0, 0];
    const session = (): Session => ({
      async query<T>(sql: string) {
        statements.push(sql);
        const error = fail(sql, statements.length);
        if (error) throw error;
        return [{ id: 4, epoch: 9, seq: 0, gtid: '0-4-1' }] as T[];
      },
      close: () => void closed++,
    });
    await runWorker(
      { worker: 1, kind, client: 'c', thinkMs: 0, retryMs: 0, epochSql: 'SELECT epoch' },
      {
        connect: async () => {
          connections++;
          return session();
        },
        journal: { write: (line) => void lines.push(line), close: () => undefined },
        ...{ random: createRandom(3), now: () => 0, round: () => 1, mayGo: async () => undefined, stopped: stop.signal },
        seen: () => {
          if (++outcomes >= transactions) stop.abort();
        },
      },
    );
    return { lines, statements, connections, closed };
  }

  it('begins in its journal before it sends anything, and never tries a number twice', async () => {
    const { lines, connections } = await run(200, () => undefined);
    expect(lines.map(({ k }) => k)).toEqual(Array.from({ length: 200 }, () => ['begin', 'acked']).flat());
    expect(lines.flatMap((line) => (line.k === 'begin' ? [line.s] : []))).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(connections).toBe(1);
    expect(lines.filter((line) => line.k === 'acked' && line.srv === 4 && line.ep === 9 && line.p === 0).length).toBeGreaterThan(100);
  });

  it('knows nothing when the connection breaks at the commit, and that it failed when it breaks before', async () => {
    const gone = await run(100, (sql, at) => (at % 5 === 0 ? new Error(`reset at ${sql}`) : undefined));
    const ends = gone.lines.filter((line) => line.k === 'unknown' || line.k === 'refused');
    expect(ends.length).toBeGreaterThan(20);
    expect(new Set(ends.map(({ k }) => k))).toEqual(new Set(['unknown', 'refused']));
    // A transaction of its own statement has no BEGIN: the statement is the commit.
    const begun = new Map(gone.lines.flatMap((line) => (line.k === 'begin' ? [[line.s, line] as const] : [])));
    for (const line of ends) {
      const commits = line.why.includes('COMMIT') || (!begun.get(line.s)!.chain && line.why.includes('history_rows'));
      if (begun.get(line.s)!.chain) expect(line.k).toBe(commits ? 'unknown' : 'refused');
      else expect(line.k).toBe('unknown');
    }
    // The last one may have been the last transaction of all.
    expect([ends.length, ends.length + 1]).toContain(gone.connections);
    expect(gone.closed).toBe(gone.connections);
  });

  it('takes a no for a no, and an interrupted commit for unknown', async () => {
    const answer = (errno: number) => (sql: string) => (sql === 'COMMIT' ? new SqlRefused('as told', errno) : undefined);
    const of = async (errno: number) => (await run(60, answer(errno))).lines.filter((line) => line.k === 'refused' || line.k === 'unknown');
    expect(new Set((await of(1290)).map(({ k }) => k))).toEqual(new Set(['refused']));
    for (const errno of [1317, 1927, 1053, 1180]) expect(new Set((await of(errno)).map(({ k }) => k))).toEqual(new Set(['unknown']));
  });

  it('is acknowledged even when asking for the place in the log fails', async () => {
    const { lines } = await run(30, (sql) => (sql.includes('last_gtid') ? new Error('gone') : undefined));
    expect(lines.filter(({ k }) => k === 'acked').length).toBe(30);
  });

  it('opens a connection for each transaction when it has no pool', async () => {
    expect(await run(20, () => undefined, 'fresh')).toMatchObject({ connections: 20, closed: 20 });
  });
});

describe('what a member holds', () => {
  it('is read from its tables', async () => {
    const sql = async (text: string) => {
      if (text.startsWith('CHECKSUM'))
        return [
          ['adb.history_rows', '12'],
          ['adb.history_keys', undefined],
        ];
      if (text.includes('COUNT(DISTINCT'))
        return [
          ['c', '1', '2', '3', '3', '3', '5', '6'],
          ['c', '1', '3', '1', '1', '1', undefined, undefined],
        ];
      if (text.includes('CRC32')) return [['0', '9', '99']];
      if (text.includes('history_chains')) return [['c', '1', '2', '1']];
      return [
        ['c', '1', '2'],
        ['c', '1', '7'],
      ];
    };
    expect(await readState('m', sql, 4)).toEqual({
      member: 'm',
      checksums: { history_rows: '12', history_keys: 'NULL' },
      found: [
        { client: 'c', worker: 1, seq: 2, rows: 3, distinct: 3, parts: 3, server: 5, epoch: 6, key: true },
        { client: 'c', worker: 1, seq: 3, rows: 1, distinct: 1, parts: 1, server: undefined, epoch: undefined, key: false },
        { client: 'c', worker: 1, seq: 7, rows: 0, distinct: 0, parts: 0, server: undefined, epoch: undefined, key: true },
      ],
      chains: [{ client: 'c', worker: 1, seq: 2, n: 1 }],
      rounds: [{ round: 0, rows: 9, sum: '99' }],
    });
  });

  it('is parsed from the batch output of the client program', () => {
    expect(parseBatch('a\tNULL\tb\\tc\\\\\n\nd\n')).toEqual([['a', undefined, 'b\tc\\'], ['d']]);
  });
});

describe('time to writable', () => {
  it('ends with the first acknowledgement after the longest time without one', () => {
    const acks = [0, 100, 200, 300, 4000, 4100, 5000];
    expect(writable(acks, { from: 250, to: 6000 })).toEqual({
      longestMs: 3700,
      afterMs: 3750,
      returned: true,
      gaps: [{ from: 300, to: 4000 }],
    });
  });

  it('is none when nothing stopped, and not over when nothing came again', () => {
    const busy = Array.from({ length: 50 }, (_, i) => i * 100);
    expect(writable(busy, { from: 1000, to: 4000 })).toMatchObject({ afterMs: 0, returned: true, gaps: [] });
    expect(writable([100, 200], { from: 150, to: 9000 })).toMatchObject({ longestMs: 8800, returned: false });
    expect(writable([], { from: 0, to: 5000 })).toMatchObject({ longestMs: 5000, returned: false });
  });

  it('counts acknowledgements only', () => {
    const attempt = (outcome: 'acked' | 'refused', endedAt: number) => ({ outcome, endedAt }) as Parameters<typeof ackTimes>[0][number];
    expect(ackTimes([attempt('acked', 5), attempt('refused', 6), attempt('acked', 2)])).toEqual([2, 5]);
  });
});
