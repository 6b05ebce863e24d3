import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { createVolumeStore } from '#backup/stores/volume.ts';
import { openSnapshot } from '#xcache/engine/snapshot.ts';
import { backupKeys, expired, objectsOf, readCatalog, refuseUnfitBackup } from './catalog.ts';
import { isSnapshot, makeFull, openFull } from './full.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const each of cleanups.splice(0).toReversed()) await each();
});
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'xcache-backup-'));
  cleanups.push(() => rm(path, { recursive: true, force: true }));
  return path;
}

const ID = '20260101-000000-abcd';
const KEY = { id: 'k', secret: randomBytes(32) };
const ABOUT = { id: ID, cache: 'acache', member: 'acache-2', engine: 'valkey', engineVersion: '9.1.2' } as const;
async function make(content: Readable, path: string) {
  const store = createVolumeStore(path);
  const made = makeFull({
    ...{ about: ABOUT, store, pack: { codec: 'gzip', key: KEY }, progress: () => undefined, now: () => new Date() },
    contents: { parts: [{ open: async () => ({ content, member: 'acache-2', usedBytes: 10 }) }], check: async () => undefined },
    signal: new AbortController().signal,
  });
  return { store, made };
}

describe('a backup of a cache', () => {
  it('is whole or not there; what was changed of it is found out', async () => {
    const path = await folder();
    const content = Buffer.concat([Buffer.from('REDIS0011'), randomBytes(300_000)]);
    const { store, made } = await make(Readable.from([content.subarray(0, 100), content.subarray(100)]), path);
    const marker = await made;
    expect(marker).toMatchObject({ contentBytes: content.length, encrypted: true, engine: 'valkey' });
    expect((await readCatalog(store)).fulls).toEqual([marker]);
    const place = { store, keyOf: () => KEY };
    const [object] = objectsOf(marker);
    if (object === undefined) throw new Error('a backup of nothing');
    const again = await openFull(place, object, new AbortController().signal);
    expect((await buffer(again.content)).equals(content)).toBe(true);
    again.check();
    const file = join(path, backupKeys(ID).data);
    const stored = await readFile(file);
    stored[5000] = (stored[5000] ?? 0) ^ 1;
    await writeFile(file, stored);
    const damaged = await openFull(place, object, new AbortController().signal);
    await expect(buffer(damaged.content)).rejects.toThrow('damaged');
    // Shorter than it was: not even offered.
    await writeFile(file, stored.subarray(0, 1000));
    expect((await readCatalog(store)).fulls).toEqual([]);
  });

  it('of a cluster is an object a shard: all of them, or none', async () => {
    const path = await folder();
    const store = createVolumeStore(path);
    const data = [0, 1, 2].map((shard) => Buffer.from(`REDIS0011 of shard ${shard}`));
    const parts = data.map((content, shard) => ({
      shard: { shard, slots: [{ first: shard * 10, last: shard * 10 + 9 }] },
      open: async () => ({ content: Readable.from([content]), member: `acache-${shard + 4}`, usedBytes: 100 + shard }),
    }));
    const all = (check: () => Promise<void>, only = parts) =>
      makeFull({
        ...{ about: ABOUT, store, pack: { codec: 'gzip', key: KEY }, progress: () => undefined, now: () => new Date() },
        ...{ contents: { parts: only, shards: 4, check }, signal: new AbortController().signal },
      });
    const marker = await all(async () => undefined);
    expect(marker).toMatchObject({ usedBytes: 303, contentBytes: data.reduce((sum, { length }) => sum + length, 0) });
    expect(marker.cluster?.shards).toBe(4);
    expect(marker.cluster?.parts.map(({ shard, member, slots }) => [shard, member, slots[0]?.first])).toEqual([
      [0, 'acache-4', 0],
      [1, 'acache-5', 10],
      [2, 'acache-6', 20],
    ]);
    expect((await readCatalog(store)).fulls).toEqual([marker]);
    for (const [shard, object] of objectsOf(marker).entries()) {
      const { content, check } = await openFull({ store, keyOf: () => KEY }, object, new AbortController().signal);
      expect((await buffer(content)).equals(data[shard] ?? Buffer.alloc(0))).toBe(true);
      check();
    }
    // One shard's is gone: no part of it is offered.
    await store.delete(backupKeys(ID).shard(1));
    expect(await readCatalog(store)).toMatchObject({ fulls: [], unfinished: [{ id: ID }, { id: ID }, { id: ID }] });
    // They do not belong together, or one of them breaks off.
    await expect(all(() => Promise.reject(new Error('slots have moved')))).rejects.toThrow('slots have moved');
    expect(await store.list('')).toEqual([]);
    const broken = { ...parts[2]!, open: () => Promise.reject(new Error('the engine died')) };
    await expect(all(async () => undefined, [parts[0]!, parts[1]!, broken])).rejects.toThrow('the engine died');
    expect(await store.list('')).toEqual([]);
  });

  it('leaves nothing when the engine breaks off', async () => {
    const path = await folder();
    const content = Readable.from(
      (async function* () {
        yield Buffer.from('REDIS0011');
        throw new Error('the engine died');
      })(),
    );
    const { store, made } = await make(content, path);
    await expect(made).rejects.toThrow('the engine died');
    expect(await store.list('')).toEqual([]);
  });

  it('is for caches of the same engine that have room for it', () => {
    const backup = { id: ID, engine: 'redis', engineVersion: '8.0.2', usedBytes: 100, shards: undefined } as const;
    const takeUp = (cache: object) =>
      refuseUnfitBackup(backup, { name: 'b', engine: 'redis', mode: 'replicated', shards: undefined, room: 200, ...cache });
    expect(() => takeUp({ engine: 'valkey' })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining('made by redis 8.0.2, and b is valkey'),
        hint: expect.stringContaining('engine=redis'),
      }),
    );
    expect(() => takeUp({ room: 99 })).toThrow('has room for 99');
    expect(() => takeUp({ room: 100 })).not.toThrow();
  });

  it('goes when it is beyond the number to be kept; what failed long ago goes too', () => {
    const fulls = ['20260101-000000-aaaa', '20260102-000000-aaaa', '20260103-000000-aaaa'].map((id) => ({ id }));
    const left = (id: string) => ({ id, key: `full/${id}/data` });
    const unfinished = [left('20260101-120000-bbbb'), left('20260104-230000-bbbb'), left('20251231-000000-cccc')];
    expect(expired({ fulls, unfinished }, { keep: 2, running: ['20251231-000000-cccc'], now: new Date('2026-01-05T00:00:00Z') })).toEqual({
      fulls: ['20260101-000000-aaaa'],
      objects: ['full/20260101-120000-bbbb/data'],
    });
  });
});

describe('the snapshot of an engine', () => {
  /** An engine that answers what a replica says with `ok`, and SYNC with `end`. */
  async function serve(end: (socket: Socket) => void): Promise<string> {
    const path = join(await folder(), 'engine.sock');
    const server = createServer((socket) => {
      socket.on('data', (data) => {
        const text = data.toString();
        if (text.includes('SYNC')) end(socket);
        else socket.write('+OK\r\n');
      });
    }).listen(path);
    cleanups.push(async () => server.close());
    return path;
  }
  const open = (socketPath: string) =>
    openSnapshot({ at: { path: socketPath }, user: 'u', password: 'p', signal: new AbortController().signal });
  const MARK = 'm'.repeat(40);

  it('ends at its mark, wherever the pieces that come are cut', async () => {
    const content = Buffer.concat([Buffer.from('REDIS0011'), randomBytes(5000), Buffer.from('m'.repeat(39))]);
    const all = Buffer.concat([Buffer.from(`\n\n$EOF:${MARK}\r\n`), Buffer.from(content), Buffer.from('x'), Buffer.from(MARK)]);
    for (const cut of [1, 40, 4000, all.length - 20, all.length - 41]) {
      const path = await serve((socket) => {
        socket.write(all.subarray(0, cut));
        setTimeout(() => socket.write(all.subarray(cut)), 5);
      });
      const got = await buffer(await open(path));
      expect(got.equals(Buffer.concat([content, Buffer.from('x')]))).toBe(true);
      expect(isSnapshot(got)).toBe(true);
    }
  });

  it('is none when the engine refuses, or the end does not come', async () => {
    await expect(open(await serve((socket) => socket.write("-NOMASTERLINK Can't SYNC while not connected\r\n")))).rejects.toMatchObject({
      code: 'engine',
      message: expect.stringContaining('NOMASTERLINK'),
    });
    const broken = await open(await serve((socket) => socket.end(`$EOF:${MARK}\r\nREDIS0011 half`)));
    await expect(buffer(broken)).rejects.toThrow('broke off');
    const exact = await open(await serve((socket) => socket.write('$9\r\nREDIS0011')));
    expect((await buffer(exact)).toString()).toBe('REDIS0011');
  });
});
