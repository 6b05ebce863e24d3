import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createGroupReader } from './binlog/groups.ts';
import { type Piece, pieceKey } from './binlog/piece.ts';
import { binlogOf } from './binlog/stream.ts';
import type { Catalog } from './catalog.ts';
import { planRestore, restoreWindows } from './restore-plan.ts';
import type { BackupMarker } from './schema.ts';
import { binlog, type Trx } from './spec-lib/binlog.ts';

const marker = (id: string, gtid: string, at: number): BackupMarker => ({
  v: 1,
  id: `20260801-000000-${id}`,
  db: 'adb',
  member: 'adb-2',
  flavor: 'mariadb',
  engineVersion: '11.8.6',
  started: '',
  finished: String(at).padStart(12, '0'),
  gtid,
  at,
  bytes: 1,
  sha256: '',
  contentBytes: 1,
  encrypted: false,
});

/** An archive of these transactions, a piece for each list. */
function archive(lists: Trx[][], fulls: BackupMarker[], epoch = 1) {
  const objects = new Map<string, Buffer>();
  const pieces = lists.map((trxs, index): Piece => {
    const before = lists[index - 1]?.at(-1);
    const beats = trxs.filter((trx) => trx.heartbeat);
    const timed = beats.length > 0 ? beats : trxs;
    const piece: Piece = {
      epoch,
      from: before === undefined ? { server: 0, seq: trxs[0]!.seq - 1 } : { server: before.server, seq: before.seq },
      runs: [{ server: trxs[0]!.server, first: trxs[0]!.seq }],
      last: trxs.at(-1)!.seq,
      begins: timed[0]!.timestamp,
      ends: timed.at(-1)!.timestamp,
      member: 'adb-1',
      kind: 'whole',
    };
    objects.set(pieceKey(piece), binlog(trxs, piece.from));
    return piece;
  });
  const catalog: Catalog = { fulls, pieces, unfinished: [] };
  const open = async (key: string) => Readable.from([objects.get(key)!], { objectMode: false });
  return { catalog, open, objects };
}

const trx = (seq: number, timestamp: number, heartbeat = false): Trx => ({ server: 1, seq, timestamp, heartbeat });
const at = (seconds: number) => ({ kind: 'time' as const, at: new Date(seconds * 1000) });

describe('a moment', () => {
  const { catalog, open } = archive(
    [[trx(1, 100), trx(2, 101), trx(3, 103)], [trx(4, 103), trx(5, 106)], [trx(6, 110)]],
    [marker('aaaa', '0-1-1', 100), marker('bbbb', '0-1-4', 104)],
  );

  it('is everything that was committed before it, and nothing of that second', async () => {
    for (const [seconds, seq] of [
      [101, 1],
      [102, 2],
      [103, 2],
      [104, 4],
    ] as const) {
      expect(await planRestore(catalog, at(seconds), open)).toMatchObject({ full: { gtid: '0-1-1' }, upTo: { seq } });
    }
    // From the newest backup that is old enough.
    expect(await planRestore(catalog, at(107), open)).toMatchObject({ full: { gtid: '0-1-4' }, upTo: { seq: 5 } });
    expect(await planRestore(catalog, { kind: 'latest' }, open)).toMatchObject({ full: { gtid: '0-1-4' }, upTo: { seq: 6 } });
    expect(await planRestore(catalog, { kind: 'gtid', gtid: '0-1-3' }, open)).toMatchObject({ full: { gtid: '0-1-1' }, upTo: { seq: 3 } });
    const part = { kind: 'time' as const, at: new Date(103_999) };
    expect(await planRestore(catalog, part, open)).toMatchObject({ upTo: { seq: 2 } });
  });

  it('outside of the archive is refused, and what can be had is said', async () => {
    for (const seconds of [99, 100, 111, 5000]) {
      const refusal = await planRestore(catalog, at(seconds), open).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'invalid' });
      expect((refusal as Error).message).toContain('1970-01-01T00:01:41Z to 1970-01-01T00:01:50Z');
    }
    await expect(planRestore(catalog, { kind: 'gtid', gtid: '0-2-3' }, open)).rejects.toThrow(/the last archived transaction is 0-1-6/);
    await expect(planRestore(catalog, { kind: 'backup', id: '20260801-000000-cccc' }, open)).rejects.toMatchObject({ code: 'not_found' });
    await expect(planRestore({ ...catalog, fulls: [] }, { kind: 'latest' }, open)).rejects.toThrow(/no complete backup/);
  });

  it('in a gap of the archive is refused', async () => {
    const gap = { ...catalog, pieces: catalog.pieces.filter(({ last }) => last !== 5) };
    expect(await planRestore(gap, at(103), open)).toMatchObject({ upTo: { seq: 2 } });
    await expect(planRestore(gap, at(107), open)).rejects.toThrow(
      'what can be is 1970-01-01T00:01:41Z to 1970-01-01T00:01:43Z and 1970-01-01T00:01:45Z',
    );
    await expect(planRestore(gap, at(110), open)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('a session that lies about the time', () => {
  it('does not end a restore too early', async () => {
    const lists = [
      [trx(1, 100, true), trx(2, 4_000_000_000), trx(3, 101, true), trx(4, 102)],
      [trx(5, 103, true), trx(6, 104, true)],
    ];
    const { catalog, open } = archive(lists, [marker('aaaa', '0-1-1', 100)]);
    expect(await planRestore(catalog, at(103), open)).toMatchObject({ upTo: { seq: 4 } });
    expect(await planRestore(catalog, at(104), open)).toMatchObject({ upTo: { seq: 5 } });
  });

  it('does not carry one further than the next heartbeat', async () => {
    const lists = [[trx(1, 100, true), trx(2, 101), trx(3, 5), trx(4, 103, true), trx(5, 7), trx(6, 104, true)]];
    const { catalog, open } = archive(lists, [marker('aaaa', '0-1-1', 100)]);
    expect(await planRestore(catalog, at(102), open)).toMatchObject({ upTo: { seq: 3 } });
    expect(await planRestore(catalog, at(104), open)).toMatchObject({ upTo: { seq: 5 } });
  });
});

describe('the binlog of a plan', () => {
  const seqs = async (chunks: AsyncIterable<Buffer>) => {
    const reader = createGroupReader({ offset: 0, keep: false });
    const found: number[] = [];
    for await (const chunk of chunks) {
      for (const each of reader.push(chunk)) if (each.kind === 'group') found.push(each.group.seq);
    }
    return found;
  };

  it('has each transaction once, in order, to the very one, however the archive is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(),
        async (sizes, low, high) => {
          let seq = 0;
          const lists = sizes.map((size) => Array.from({ length: size }, () => trx(++seq, 100 + seq)));
          const from = 1 + (low % seq);
          const to = from + (high % (seq - from + 1));
          const { catalog, open } = archive(lists, [marker('aaaa', `0-1-${from}`, 100 + from)]);
          const plan = await planRestore(catalog, { kind: 'gtid', gtid: `0-1-${to}` }, open);
          const found = to === from ? [] : await seqs(binlogOf(plan.links, plan.from, plan.upTo, open));
          expect(found).toEqual(Array.from({ length: to - from }, (_, index) => from + 1 + index));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is not given when a piece does not hold what its name says', async () => {
    const { catalog, open, objects } = archive(
      [
        [trx(1, 100), trx(2, 101)],
        [trx(3, 102), trx(4, 103)],
      ],
      [marker('aaaa', '0-1-1', 100)],
    );
    const plan = await planRestore(catalog, { kind: 'latest' }, open);
    objects.set(pieceKey(catalog.pieces[1]!), binlog([trx(3, 102)]));
    await expect(seqs(binlogOf(plan.links, plan.from, plan.upTo, open))).rejects.toThrow(/ends at 0-1-3 and says that it ends at 0-1-4/);
  });
});

it('windows are put together where they touch, and are one moment where there is no binlog', () => {
  const { catalog } = archive(
    [
      [trx(1, 100), trx(2, 101)],
      [trx(3, 102), trx(4, 103)],
    ],
    [marker('aaaa', '0-1-1', 100), marker('bbbb', '0-1-3', 102), marker('cccc', '0-1-9', 200)],
  );
  expect(restoreWindows(catalog)).toEqual([
    { from: 101, to: 103 },
    { from: 201, to: 201 },
  ]);
});
