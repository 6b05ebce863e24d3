import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ConsulClient, createConsul, type KvEntry, parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { writeFileAtomic } from '#core/files.ts';
import { httpRequest } from '#core/http.ts';
import { silentLogger } from '#core/log.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';

let server: TestConsul;
let consul: ConsulClient;

beforeAll(async () => {
  server = await startConsul();
  consul = createConsul({ socketPath: server.socketPath, token: server.token });
});
afterAll(async () => {
  consul?.close();
  await server?.stop();
});
const session = (ttlSeconds = 10, behavior: 'release' | 'delete' = 'release') =>
  consul.session.create({ name: 'test', ttlSeconds, behavior });

describe('kv', () => {
  it('writes by compare-and-set, reads, lists and deletes', async () => {
    expect(await consul.kv.get('kv/a')).toBeUndefined();
    expect(await consul.kv.list('kv/')).toEqual([]);
    expect(await consul.kv.cas('kv/a', 'one', 0)).toBe(true);
    expect(await consul.kv.cas('kv/a', 'two', 0)).toBe(false);
    const first = await consul.kv.get('kv/a', { consistent: true });
    expect(first).toMatchObject({ key: 'kv/a', value: 'one', lockIndex: 0, session: undefined });
    expect(await consul.kv.cas('kv/a', 'two', first!.modifyIndex)).toBe(true);
    expect(await consul.kv.cas('kv/a', 'three', first!.modifyIndex)).toBe(false);
    await consul.kv.put('kv/b/c', '');
    await consul.kv.put('kvx', 'not below');
    expect((await consul.kv.list('kv/')).map(({ key, value }) => [key, value])).toEqual([
      ['kv/a', 'two'],
      ['kv/b/c', ''],
    ]);
    expect(await consul.kv.delete('kv/a', { cas: first!.modifyIndex })).toBe(false);
    expect(await consul.kv.delete('kv/a')).toBe(true);
    expect(await consul.kv.delete('kv/a')).toBe(true);
    await consul.kv.deleteTree('kv/');
    expect(await consul.kv.list('kv/')).toEqual([]);
    expect(await consul.kv.get('kvx')).toBeDefined();
  });

  it('keys and values come back as they went in', async () => {
    for (const key of ['odd/a b', 'odd/ü', 'odd/%2e%2e', 'odd/a?b#c&d', 'odd/;$(id)`', 'odd/a+b', 'odd/…']) {
      await consul.kv.put(key, `value of ${key} ü`);
      expect((await consul.kv.get(key))?.value).toBe(`value of ${key} ü`);
    }
    expect(await consul.kv.list('odd/')).toHaveLength(7);
    const large = 'x'.repeat(500_000);
    await consul.kv.put('odd/large', large);
    expect((await consul.kv.get('odd/large'))?.value).toBe(large);
    await expect(consul.kv.put('odd/too-large', 'x'.repeat(600_000))).rejects.toMatchObject({ code: 'engine' });
  });

  it('of many writers of one index, one wins', async () => {
    const wins = await Promise.all(Array.from({ length: 20 }, (_, i) => consul.kv.cas('race', String(i), 0)));
    expect(wins.filter(Boolean)).toHaveLength(1);
    expect((await consul.kv.get('race'))?.value).toBe(String(wins.indexOf(true)));
  });

  it('says who may not', async () => {
    const stranger = createConsul({ socketPath: server.socketPath });
    try {
      await expect(stranger.kv.put('x', '')).rejects.toMatchObject({ code: 'forbidden' });
      await expect(stranger.session.renew('00000000-0000-0000-0000-000000000000')).resolves.toBe(false);
    } finally {
      stranger.close();
    }
  });
});

describe('sessions and locks', () => {
  it('one holds a lock; its index grows with each change of hands and not when the holder asks again', async () => {
    const [a, b] = [await session(), await session()];
    expect(await consul.kv.acquire('locks/x', 'a', a)).toBe(true);
    expect(await consul.kv.acquire('locks/x', 'b', b)).toBe(false);
    expect(await consul.kv.get('locks/x')).toMatchObject({ value: 'a', lockIndex: 1, session: a });
    expect(await consul.kv.acquire('locks/x', 'a', a)).toBe(true);
    expect((await consul.kv.get('locks/x'))?.lockIndex).toBe(1);
    expect(await consul.kv.release('locks/x', b)).toBe(false);
    expect(await consul.kv.release('locks/x', a)).toBe(true);
    expect(await consul.kv.acquire('locks/x', 'b', b)).toBe(true);
    expect((await consul.kv.get('locks/x'))?.lockIndex).toBe(2);
    await consul.session.destroy(a);
    await consul.session.destroy(b);
    expect(await consul.session.renew(b)).toBe(false);
    expect(await consul.kv.get('locks/x')).toMatchObject({ lockIndex: 2, session: undefined });
    await expect(consul.kv.acquire('locks/x', 'b', b)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a session that is not renewed ends between one and about two of its TTLs, with what it was made for', async () => {
    const [released, deleted] = [await session(1), await session(1, 'delete')];
    const start = performance.now();
    expect(await consul.kv.acquire('locks/released', 'kept', released)).toBe(true);
    expect(await consul.kv.acquire('locks/deleted', 'gone', deleted)).toBe(true);
    const gone = await waitFor(async () => ((await consul.session.renew(released)) ? undefined : true), { timeoutMs: 1, intervalMs: 1 });
    expect(gone).toBeUndefined();
    const ended = await waitFor(async () => ((await consul.kv.get('locks/released'))?.session === undefined ? true : undefined), {
      timeoutMs: 15_000,
      intervalMs: 20,
    });
    expect(ended).toBe(true);
    expect(performance.now() - start).toBeGreaterThanOrEqual(1000);
    await waitFor(async () => ((await consul.kv.get('locks/deleted')) === undefined ? true : undefined), { timeoutMs: 15_000 });
    expect((await consul.kv.get('locks/released'))?.value).toBe('kept');
    expect(await consul.kv.get('locks/deleted')).toBeUndefined();
  });
});

describe('watchConsul', () => {
  const stops: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });

  function follow(prefix: string, options: { waitSeconds?: number; graceMs?: number } = {}) {
    const seen: { entries: Record<string, string>; at: number }[] = [];
    const stopping = new AbortController();
    const done = watchConsul<KvEntry[]>({
      consul,
      path: `/v1/kv/${prefix}`,
      query: { recurse: true },
      parse: (answer) => parseKv(answer, prefix),
      onChange(entries) {
        seen.push({
          entries: Object.fromEntries(entries.map(({ key, value }) => [key.slice(prefix.length), value])),
          at: performance.now(),
        });
      },
      log: silentLogger(),
      signal: stopping.signal,
      ...options,
    });
    stops.push(async () => {
      stopping.abort();
      await done;
    });
    return seen;
  }
  const sees = async (seen: { entries: Record<string, string>; at: number }[], entries: Record<string, string>) => {
    const newest = () => (JSON.stringify(seen.at(-1)?.entries) === JSON.stringify(entries) ? seen.at(-1) : undefined);
    const found = await waitFor(async () => newest(), { timeoutMs: 30_000, intervalMs: 5 });
    expect(found ?? seen.at(-1)).toMatchObject({ entries });
    return found!;
  };

  it('sees a change at once', async () => {
    const seen = follow('watch/fast/');
    await sees(seen, {});
    const delays: number[] = [];
    for (let i = 0; i < 10; i++) {
      await sleep(120);
      const start = performance.now();
      await consul.kv.put('watch/fast/a', String(i));
      delays.push((await sees(seen, { a: String(i) })).at - start);
    }
    // A few milliseconds where nothing else runs; the median, because one stop of a busy machine says nothing.
    expect(delays.sort((a, b) => a - b)[5]).toBeLessThan(100);
  });

  it('ends where the truth is while changes rain, in far fewer turns', async () => {
    const seen = follow('watch/rain/');
    for (let i = 0; i < 200; i++) await consul.kv.put('watch/rain/a', String(i));
    await sees(seen, { a: '199' });
    expect(seen.length).toBeLessThan(200);
  });

  it('loses no update over a crash of Consul, and never believes that all is gone', async () => {
    await consul.kv.put('watch/crash/a', '1');
    const seen = follow('watch/crash/');
    await sees(seen, { a: '1' });
    await server.kill();
    await server.start();
    await waitFor(
      () =>
        consul.kv.put('watch/crash/a', '2').then(
          () => true,
          () => undefined,
        ),
      { timeoutMs: 20_000 },
    );
    await sees(seen, { a: '2' });
    expect(seen.map(({ entries }) => entries)).not.toContainEqual({});
  });

  // Consul ends queries when it is restored, with what was true before; the next one blocks on an index that is to come: the restored content is seen
  // when its wait is over.
  it('follows a restored snapshot, whose index is lower, within its wait, and what comes after it', async () => {
    await consul.kv.put('watch/snap/a', 'old');
    const seen = follow('watch/snap/', { waitSeconds: 2 });
    await sees(seen, { a: 'old' });
    const headers = { 'x-consul-token': server.token };
    const at = { socketPath: server.socketPath, path: '/v1/snapshot', headers, timeoutMs: 30_000 };
    const snapshot = await httpRequest({ ...at, method: 'GET' });
    expect(snapshot.status).toBe(200);
    for (let i = 0; i < 50; i++) await consul.kv.put('watch/snap/a', `new ${i}`);
    await sees(seen, { a: 'new 49' });
    expect((await httpRequest({ ...at, method: 'PUT', body: snapshot.body })).status).toBe(200);
    await sees(seen, { a: 'old' });
    await consul.kv.put('watch/snap/a', 'after');
    await sees(seen, { a: 'after' });
    expect(seen.map(({ entries }) => entries)).not.toContainEqual({});
  });

  it('goes on after Consul was frozen, for less and for longer than it waits', async () => {
    await consul.kv.put('watch/pause/a', '1');
    const seen = follow('watch/pause/', { waitSeconds: 1, graceMs: 500 });
    await sees(seen, { a: '1' });
    for (const [frozenMs, value] of [
      [500, '2'],
      [3000, '3'],
    ] as const) {
      await server.pause();
      const start = performance.now();
      if (frozenMs > 1000)
        await expect(consul.request('GET', '/v1/kv/watch/pause/a', { timeoutMs: 300 })).rejects.toMatchObject({ code: 'timeout' });
      await sleep(frozenMs - (performance.now() - start));
      await server.unpause();
      await waitFor(
        () =>
          consul.kv.put('watch/pause/a', value).then(
            () => true,
            () => undefined,
          ),
        { timeoutMs: 20_000 },
      );
      await sees(seen, { a: value });
    }
    expect(seen.map(({ entries }) => entries)).not.toContainEqual({});
  });

  it('every plain call has a deadline while Consul is frozen', async () => {
    await server.pause();
    try {
      const start = performance.now();
      const answers = await Promise.allSettled([
        consul.kv.get('a'),
        consul.kv.cas('a', '', 0),
        consul.kv.put('a', ''),
        consul.session.renew('s'),
        consul.session.destroy('s'),
        consul.agent.pass('c'),
        consul.health.service('web'),
      ]);
      expect(performance.now() - start).toBeLessThan(15_000);
      expect(answers.map((answer) => (answer.status === 'rejected' ? answer.reason.code : 'answered'))).toEqual(Array(7).fill('timeout'));
    } finally {
      await server.unpause();
    }
  });
});

describe('files on a full disk', () => {
  it('keep the old content, and no rest of the new one', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'xc-'));
    const disk = join(folder, 'disk');
    await mkdir(disk);
    const mounted = process.getuid?.() === 0 && (await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])).code === 0;
    try {
      if (!mounted) return context.skip('only root may mount a disk of 64 KiB');
      await writeFileAtomic(join(disk, 'a'), 'old');
      await expect(writeFileAtomic(join(disk, 'a'), 'x'.repeat(100_000))).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(await readFile(join(disk, 'a'), 'utf8')).toBe('old');
      expect(await readdir(disk)).toEqual(['a']);
      await writeFile(join(disk, 'filler'), 'x'.repeat(30_000));
      await writeFileAtomic(join(disk, 'a'), 'new');
      expect(await readFile(join(disk, 'a'), 'utf8')).toBe('new');
    } finally {
      if (mounted) await run('umount', [disk]);
      await rm(folder, { recursive: true });
    }
  });
});
