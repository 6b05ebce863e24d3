import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpack } from '#backup/envelope.ts';
import { silentLogger } from '#core/log.ts';
import { createArchiver } from './archive.ts';
import { createGroupReader } from './binlog/groups.ts';
import { type Piece, parsePieceKey } from './binlog/piece.ts';
import { onwardFrom, stretches } from './history.ts';
import { binlog, memoryStore, type Trx, trxEvents } from './spec-lib/binlog.ts';

let folder: string;
let store: ReturnType<typeof memoryStore>;
let clock = 0;
const signal = new AbortController().signal;

const trx = (seq: number, more: Partial<Trx> = {}): Trx => ({ server: 1, seq, timestamp: 1000 + seq, ...more });
const archiver = (member = 'adb-1', wholeBytes = 10_000) =>
  createArchiver({
    store: store.store,
    pack: { codec: 'gzip', key: undefined },
    index: join(folder, `${member}.index`),
    domain: 0,
    member,
    log: silentLogger(),
    wholeBytes,
    wholeMs: 1000,
    now: () => clock,
  });
const role = (epoch: number, instance = 'i') => ({ epoch, instance });

async function write(member: string, number: number, trxs: Trx[], from?: { server: number; seq: number }): Promise<string> {
  const file = join(folder, `${member}.00000${number}`);
  await writeFile(file, binlog(trxs, from));
  await appendFile(join(folder, `${member}.index`), `./${member}.00000${number}\n`);
  return file;
}

const pieces = (): Piece[] => [...store.objects.keys()].flatMap((key) => parsePieceKey(key) ?? []);
const shown = () =>
  pieces()
    .map(({ from, last, kind, epoch }) => `${epoch}:${from.seq}-${last} ${kind}`)
    .sort();

/** What the store really holds, by reading it. */
async function contents(): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (const [key, object] of store.objects) {
    const reader = createGroupReader({ offset: 0, keep: false });
    const seqs: number[] = [];
    for await (const chunk of await unpack(Readable.from([object], { objectMode: false }), () => undefined)) {
      for (const each of reader.push(chunk as Buffer)) if (each.kind === 'group') seqs.push(each.group.seq);
    }
    found.set(key, seqs);
  }
  return found;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xa-'));
  store = memoryStore();
  clock = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the archive', () => {
  it('follows the binlog in short pieces, which one long piece replaces', async () => {
    const file = await write('adb-1', 1, [trx(1), trx(2)]);
    const one = archiver();
    expect(await one.turn(role(1), signal)).toMatchObject({ position: { server: 1, seq: 2 }, timestamp: 1002, behindBytes: 0 });
    await one.turn(role(1), signal);
    await appendFile(file, trxEvents(trx(3)));
    await one.turn(role(1), signal);
    expect(shown()).toEqual(['1:0-2 tail', '1:2-3 tail']);
    clock = 2000;
    await appendFile(file, trxEvents(trx(4)));
    await one.turn(role(1), signal);
    expect(shown()).toEqual(['1:0-4 whole']);
    expect([...(await contents()).values()]).toEqual([[1, 2, 3, 4]]);
    await appendFile(file, trxEvents(trx(5)));
    await one.turn(role(1), signal);
    expect(shown()).toEqual(['1:0-4 whole', '1:4-5 tail']);
  });

  it('takes whole transactions only', async () => {
    const file = await write('adb-1', 1, [trx(1)]);
    const one = archiver();
    await one.turn(role(1), signal);
    const next = trxEvents(trx(2));
    await appendFile(file, next.subarray(0, next.length - 5));
    expect(await one.turn(role(1), signal)).toMatchObject({ position: { seq: 1 }, behindBytes: next.length - 5 });
    await appendFile(file, next.subarray(next.length - 5));
    expect(await one.turn(role(1), signal)).toMatchObject({ position: { seq: 2 }, behindBytes: 0 });
    expect(shown()).toEqual(['1:0-1 tail', '1:1-2 tail']);
  });

  it('goes on in the next file, and closes the piece of a file that is finished', async () => {
    const one = archiver();
    await write('adb-1', 1, [trx(1), trx(2)]);
    await one.turn(role(1), signal);
    await write('adb-1', 2, [trx(3)], { server: 1, seq: 2 });
    await one.turn(role(1), signal);
    expect(shown()).toEqual(['1:0-2 whole', '1:2-3 tail']);
    expect(stretches(pieces())).toHaveLength(1);
  });

  it('cuts what is large', async () => {
    await write(
      'adb-1',
      1,
      Array.from({ length: 20 }, (_, index) => trx(index + 1, { bytes: 1000 })),
    );
    await archiver('adb-1', 5000).turn(role(1), signal);
    expect(shown().length).toBeGreaterThan(3);
    const [whole] = stretches(pieces());
    expect([whole!.from.seq, whole!.to.seq, stretches(pieces()).length]).toEqual([0, 20, 1]);
  });

  it('goes on where any member stopped, and leaves out what the old master alone had', async () => {
    // adb-1 archived 1…5, of which 4 and 5 were never acknowledged; adb-2 went on after 3.
    await write('adb-1', 1, [trx(1), trx(2), trx(3), trx(4), trx(5)]);
    await archiver('adb-1').turn(role(1), signal);
    const other = [trx(1), trx(2), trx(3), trx(4, { server: 2 }), trx(5, { server: 2 }), trx(6, { server: 2 })];
    await write('adb-2', 1, other);
    await archiver('adb-2').turn(role(2), signal);
    const found = stretches(pieces());
    expect(found).toHaveLength(1);
    const onward = onwardFrom(found, { server: 1, seq: 2 })!;
    expect(onward.to).toEqual({ server: 2, seq: 6 });
    expect(onward.links.map(({ piece, to }) => [piece.epoch, to.seq])).toEqual([
      [1, 3],
      [2, 6],
    ]);
    // Not the whole file again.
    expect(shown()).toContain('2:3-6 tail');
  });

  it('passes over what is archived after a new start, and begins anew where the file was cut', async () => {
    const file = await write('adb-1', 1, [trx(1), trx(2), trx(3)]);
    await archiver().turn(role(1), signal);
    const one = archiver();
    await one.turn(role(1, 'later'), signal);
    expect(shown()).toEqual(['1:0-3 tail']);
    // The engine's recovery took 3 away, and another 3 came.
    await writeFile(file, binlog([trx(1), trx(2)]));
    await one.turn(role(1, 'later'), signal);
    await appendFile(file, trxEvents(trx(3, { server: 2 })));
    await one.turn(role(2, 'third'), signal);
    expect(stretches(pieces())[0]!.to).toEqual({ server: 2, seq: 3 });
    expect(onwardFrom(stretches(pieces()), { server: 1, seq: 1 })?.to).toEqual({ server: 2, seq: 3 });
  });

  it('says when the engine has removed what was not archived', async () => {
    await write('adb-1', 1, [trx(1), trx(2)]);
    await archiver().turn(role(1), signal);
    await rm(join(folder, 'adb-1.index'));
    await write('adb-1', 3, [trx(8)], { server: 1, seq: 7 });
    expect(await archiver().turn(role(1), signal)).toMatchObject({ gapBefore: { server: 1, seq: 7 }, position: { seq: 8 } });
    expect(stretches(pieces())).toHaveLength(2);
  });

  it('begins with the file in which the oldest full backup ends', async () => {
    await write('adb-1', 1, [trx(1), trx(2)]);
    await write('adb-1', 2, [trx(3), trx(4)], { server: 1, seq: 2 });
    await write('adb-1', 3, [trx(5)], { server: 1, seq: 4 });
    await archiver().turn({ ...role(1), since: 4 }, signal);
    expect(shown()).toEqual(['1:4-5 tail']);
    store.objects.clear();
    await archiver().turn({ ...role(1), since: 3 }, signal);
    expect(shown()).toEqual(['1:2-4 whole', '1:4-5 tail']);
  });

  it('stops where it is not this member’s job, and a failing store loses nothing', async () => {
    const file = await write('adb-1', 1, [trx(1)]);
    const one = archiver();
    await one.turn(undefined, signal);
    expect(shown()).toEqual([]);
    const { put } = store.store;
    store.store.put = () => Promise.reject(new Error('away'));
    await expect(one.turn(role(1), signal)).rejects.toThrow('away');
    store.store.put = put;
    await appendFile(file, trxEvents(trx(2)));
    await one.turn(role(1), signal);
    expect(shown()).toEqual(['1:0-2 tail']);
  });

  it('refuses a damaged binlog and one of several domains', async () => {
    const bytes = binlog([trx(1), trx(2)]);
    bytes[bytes.length - 10] = bytes[bytes.length - 10]! ^ 1;
    await writeFile(join(folder, 'adb-1.000001'), bytes);
    await writeFile(join(folder, 'adb-1.index'), './adb-1.000001\n');
    await expect(archiver().turn(role(1), signal)).rejects.toThrow(/damaged/);
    expect(shown()).toEqual([]);
  });
});
