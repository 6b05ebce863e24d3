import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';
import { prepareWriters, type WriterReport, type Writers } from '#test/cache-writer/start.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { measured, membersOn, until, untilSame } from './lb-pool.ts';

/** A pool that grows from one host to three, caches on it, clients as users have them, and what an operator does to them. */
let pool: Pool;
let writers: Writers;
beforeAll(async () => {
  writers = await prepareWriters();
  pool = await startPool({ hosts: 1, spares: 2, verbose: process.env.XCAAS_VERBOSE !== undefined });
});
afterAll(async () => {
  pool?.stop();
  await writers?.remove();
  if (built.length > 0) await run('docker', ['rmi', ...built]);
});

interface CacheJson {
  name: string;
  status: string;
  sentence: string;
  epoch: number;
  master: string | null;
  version: string;
  mode: string;
  endpoint: { host: string; port: number; sentinelPort: number; published: { host: string; hostPort: number; port: number }[] };
  members: { id: string; role: string; state: string; node: string; group: string; insync: boolean; maxBytes: number | null }[];
}
interface UrlJson {
  url: string;
  user: string;
  password: string;
  urls: Record<string, string>;
}

const status = (name = 'acache', on?: PoolHost) => pool.json<CacheJson>(['cache', 'status', name], on === undefined ? {} : { on });
const error = (text: string) => (JSON.parse(text) as { error: { code: string; message: string; hint?: string } }).error;
const insync = (cache: CacheJson) => cache.members.filter((member) => member.insync).map(({ id }) => id);
const hostOf = (cache: CacheJson, id: string | null) => pool.host(cache.members.find((member) => member.id === id)?.node ?? '');
const ready = (name = 'acache', seconds = 60) => untilSame(`${name} is READY`, seconds, async () => (await status(name)).status, 'READY');

/** A command through the endpoint. */
async function connect(name: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await pool.cli(['cache', 'connect', name, ...words]);
  expect({ code, stderr }, words.join(' ')).toEqual({ code: 0, stderr: '' });
  return stdout.trim();
}

/** SIGKILL of the engine in a member's container; whoever runs this is not meant, though it names it too. */
async function killEngine(host: PoolHost, member: string): Promise<void> {
  // An engine writes its address behind its name, in one word.
  const first = 'line=$(tr "\\0" " " <$p/cmdline 2>/dev/null); first=${line%% *}';
  const script = `for p in /proc/[0-9]*; do ${first}; [ "\${first##*/}" = valkey-server ] && kill -9 "\${p#/proc/}" && echo killed; done; true`;
  expect(await host.run('docker', ['exec', member, 'sh', '-c', script])).toContain('killed');
}

const built: string[] = [];
/** The built-in image with a mark of its own, on every host. */
async function imageOf(mark: string, label: string): Promise<string> {
  const tag = `xcaas-test/xcache-upgrade:${mark}`;
  const input = `FROM xcaas/xcache:${VERSION}\nENV XCAAS_TEST_IMAGE=${mark}\n${label}\n`;
  expect(await run('docker', ['build', '--quiet', '--tag', tag, '-'], { input, timeoutMs: 120_000 })).toMatchObject({ code: 0 });
  built.push(tag);
  await pool.engines.loadImages([tag]);
  return tag;
}
/** Mark of the image that each member runs. */
async function imagesOf(cache: CacheJson): Promise<(string | undefined)[]> {
  const marks = cache.members.map(async ({ id, node }) => {
    const { Config } = await pool.host(node).docker.getContainer(id).inspect();
    return Config.Env.find((line) => line.startsWith('XCAAS_TEST_IMAGE='))?.split('=')[1];
  });
  return Promise.all(marks);
}

async function startWriter(kind: 'plain' | 'sentinel', host: PoolHost = pool.first, cache = 'acache') {
  const { user, password } = await pool.json<UrlJson>(['cache', 'url', cache]);
  const writer = await writers.start(host, { kind, cache, user, password });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return writer;
}
function tell(what: string, { acked, failed, missing, slowestMs }: WriterReport): void {
  process.stderr.write(`  ${what}: ${acked} acknowledged, ${failed} failed, ${missing.length} lost, slowest ${slowestMs} ms\n`);
}

describe('on one host', { timeout: 300_000 }, () => {
  it('both members share it, and the status says what that is worth', async () => {
    const made = await pool.json<CacheJson>(['cache', 'create', '--memory', '256m', 'lone'], { timeoutMs: 120_000 });
    expect([made.status, made.master, insync(made)]).toEqual(['DEGRADED', 'lone-1', ['lone-2']]);
    expect(made.sentence).toBe('lone-1 takes writes; both members share host n1');
    expect((await pool.cli(['cache', 'status', 'lone'])).code).toBe(6);
    const more = await pool.cli(['cache', 'scale', 'lone', '--replicas', '2', '--json']);
    expect({ exit: more.code, ...error(more.stdout) }).toMatchObject({
      exit: 1,
      code: 'no_host',
      message: expect.stringMatching(/needs 3 fault groups/),
    });
    expect(await connect('lone', 'set', 'word', 'kept')).toBe('OK');
  });

  it('a second group that joins gets the replica by itself, and nothing is lost', async () => {
    for (const host of [...pool.spares]) await pool.join(host);
    const { value } = await until('lone is in two groups', 90, async () => {
      const now = await status('lone');
      return now.status === 'READY' ? now : undefined;
    });
    expect(value.members.map(({ id }) => id)).toEqual(['lone-1', 'lone-3']);
    expect(new Set(value.members.map(({ group }) => group)).size).toBe(2);
    expect([value.master, value.epoch]).toEqual(['lone-1', 1]);
    expect(await connect('lone', 'get', 'word')).toBe('kept');
    await untilSame('what the old replica left is gone', 60, async () => (await membersOn(pool.first)).join(), 'lone-1 running');
  });
});

describe('making a cache', { timeout: 300_000 }, () => {
  it('refuses what cannot be, and leaves nothing behind', async () => {
    const refused = async (args: string[], code: string, exit: number, message: RegExp) => {
      const answer = await pool.cli(['cache', 'create', 'acache', ...args, '--json']);
      expect({ code: error(answer.stdout).code, exit: answer.code }, answer.stdout).toEqual({ code, exit });
      expect(error(answer.stdout).message).toMatch(message);
    };
    await refused(['--memory', '4096'], 'no_host', 1, /memory/);
    await refused(['--replicas', '3'], 'no_host', 1, /needs 4 fault groups, and the pool has 3/);
    await refused(['--mode', 'cluster', '--shards', '4'], 'no_host', 1, /4 masters of acache cannot be spread/);
    await refused(['--opt', 'maxmemory-policy=oldest-first'], 'invalid', 2, /oldest-first/);
    await refused(['--opt', 'engine=memcached'], 'invalid', 2, /memcached/);
    await refused(['--opt', 'param.cluster-enabled=yes'], 'invalid', 2, /cluster/);
    await refused(['--mode', 'sharded'], 'usage', 2, /sharded/);
    await refused(['--image', `xcaas/xlb:${VERSION}`], 'invalid', 2, /appliance xlb/);
    await refused(['--network', 'nowhere'], 'not_found', 3, /nowhere/);
    const name = await pool.cli(['cache', 'create', 'A Cache', '--json']);
    expect([name.code, error(name.stdout).code]).toEqual([2, 'invalid']);
    expect((await pool.json<CacheJson[]>(['cache', 'list'])).map((cache) => cache.name)).toEqual(['lone']);
  });

  it('puts a master and two replicas into three groups, usable within 15 s', async () => {
    const start = performance.now();
    const made = await pool.json<CacheJson>([
      ...['cache', 'create', '-d', 'xcache', '--replicas', '2', '--memory', '256m'],
      ...['--publish', '16379', '--opt', 'replace-after=600', 'acache'],
    ]);
    const seconds = (performance.now() - start) / 1000;
    measured('cache create to READY', seconds * 1000);
    expect([made.status, made.mode, made.master, insync(made)]).toEqual(['READY', 'replicated', 'acache-1', ['acache-2', 'acache-3']]);
    expect(new Set(made.members.map(({ group }) => group)).size).toBe(3);
    expect(made.endpoint).toMatchObject({ host: 'acache', port: 6379, sentinelPort: 26379 });
    expect(made.endpoint.published).toHaveLength(3);
    expect(seconds).toBeLessThan(15);
  });

  it('says the same again, and refuses another specification and another service of that name', async () => {
    expect((await pool.json<CacheJson>(['cache', 'create', 'acache', '--memory', '256m'])).status).toBe('READY');
    const other = await pool.cli(['cache', 'create', 'acache', '--mode', 'standalone', '--json']);
    expect([other.code, error(other.stdout).message]).toEqual([4, expect.stringContaining('mode: standalone instead of replicated')]);
    const lb = await pool.cli(['lb', 'create', 'acache', '--json']);
    expect(error(lb.stdout)).toMatchObject({ code: 'conflict', message: expect.stringContaining('cache acache') });
  });

  it('gives an address to each kind of client, and its password to nobody who only reads', async () => {
    const { urls, password, url } = await pool.json<UrlJson>(['cache', 'url', 'acache']);
    expect(url).toBe(`redis://acache:${password}@acache:6379`);
    expect(urls.sentinel).toBe(`redis-sentinel://acache:${password}@acache-1:26379,acache-2:26379,acache-3:26379#acache`);
    const reader = await pool.json<{ token: string }>(['token', 'create', 'reader', '--role', 'read']);
    expect((await pool.cli(['cache', 'url', 'acache'], { token: reader.token })).code).toBe(1);
    const said = await Promise.all(
      [
        ['cache', 'status', 'acache'],
        ['cache', 'topology', 'acache'],
        ['cache', 'events', 'acache'],
        ['cache', 'logs', 'acache'],
      ].map(async (args) => JSON.stringify(await pool.json(args))),
    );
    for (const text of said) expect(text).not.toContain(password);
    const at = (await status()).endpoint.published[0]!;
    const probe = await pool.first.exec('bash', ['-c', `exec 3<>/dev/tcp/${at.host}/${at.hostPort}`], { timeoutMs: 5000 });
    expect(probe.code).toBe(0);
  });
});

describe('changing the master', { timeout: 300_000 }, () => {
  it('is refused to a member that leads or is none', async () => {
    const refused = async (...to: string[]) => (await pool.cli(['cache', 'switchover', 'acache', '--to', ...to, '--json'])).code;
    expect(await refused((await status()).master ?? '')).toBe(4);
    expect(await refused('acache-9')).toBe(3);
    expect((await pool.cli(['cache', 'restart', 'acache', 'acache-9'])).code).toBe(3);
  });

  it('as planned fails no command of a client with its default retries, and loses nothing', async () => {
    const [plain, sentinel] = [await startWriter('plain'), await startWriter('sentinel')];
    for (let turn = 0; turn < 2; turn++) {
      const before = await status();
      const done = await pool.json<{ state: string }>(['cache', 'switchover', 'acache']);
      expect(done.state).toBe('done');
      await ready();
      const after = await status();
      expect([after.epoch, after.master === before.master]).toEqual([before.epoch + 1, false]);
    }
    for (const [kind, writer] of Object.entries({ plain, sentinel })) {
      const report = await writer.stop();
      tell(`two switchovers, ${kind}`, report);
      expect({ kind, failed: report.failed, lost: report.missing, errors: report.errors }).toEqual({
        kind,
        failed: 0,
        lost: [],
        errors: [],
      });
      expect(report.acked).toBeGreaterThan(100);
    }
  });

  it('happens by itself when the engine is killed; the old master comes back as a replica', async () => {
    const before = await status();
    const writer = await startWriter('plain');
    const killed = Date.now();
    await killEngine(hostOf(before, before.master), before.master ?? '');
    await untilSame('another one leads', 20, async () => (await status()).epoch > before.epoch, true);
    await ready();
    const report = await writer.stop();
    tell('engine killed', report);
    // What was acknowledged long before had been sent.
    expect(report.missing.filter(({ at }) => at < killed - 2000)).toEqual([]);
    expect(report.slowestMs).toBeLessThan(10_000);
    const after = await status();
    expect(insync(after)).toContain(before.master);
    const events = await pool.json<{ reason: string; sentence: string }[]>(['cache', 'events', 'acache']);
    expect(events.filter(({ reason }) => reason === 'switchover')).toHaveLength(2);
    expect(events.findLast(({ reason }) => reason === 'failover')?.sentence).toContain(`in place of ${before.master}`);
  });

  it('happens by itself when its host loses power; the old master comes back as a replica', async () => {
    let before = await status();
    // The commands of this test, and its clients, run on the first host.
    while (hostOf(before, before.master) === pool.first) {
      await pool.json(['cache', 'switchover', 'acache']);
      await ready();
      before = await status();
    }
    const writer = await startWriter('plain');
    const host = hostOf(before, before.master);
    const lostAt = Date.now();
    await host.kill();
    const ms = await untilSame('another one leads', 60, async () => (await status()).epoch > before.epoch, true);
    measured('host lost to another master, as the command line sees it', ms);
    const degraded = await untilSame('the status says so', 60, async () => (await status()).status, 'DEGRADED');
    expect(degraded).toBeGreaterThanOrEqual(0);
    const report = await writer.stop();
    tell('host lost', report);
    expect(report.missing.filter(({ at }) => at < lostAt - 3000)).toEqual([]);
    expect(report.slowestMs).toBeLessThan(20_000);
    await host.boot();
    await ready('acache', 120);
    expect(insync(await status())).toContain(before.master);
  });

  it('by force is a failover', async () => {
    const before = await status();
    const after = await pool.json<CacheJson>(['cache', 'failover', 'acache', '--yes'], { timeoutMs: 120_000 });
    expect(after).toMatchObject({ status: 'READY' });
    expect([after.epoch > before.epoch, after.master !== before.master]).toEqual([true, true]);
  });
});

describe('maintenance', { timeout: 300_000 }, () => {
  it('restarts all members one after another under writes, and loses nothing', async () => {
    const writer = await startWriter('plain');
    await pool.json(['cache', 'restart', 'acache'], { timeoutMs: 180_000 });
    const report = await writer.stop();
    tell('all members restarted', report);
    // While a replica is away and the other one is late with its word, a busy machine's master refuses writes for a moment: the engine counts.
    const unexpected = report.errors.filter((text) => !text.includes('NOREPLICAS'));
    expect({ unexpected, lost: report.missing }).toEqual({ unexpected: [], lost: [] });
    expect((await status()).status).toBe('READY');
  });

  it('takes a replica away, gives more memory and other settings, with everything kept', async () => {
    expect(await connect('acache', 'set', 'word', 'kept')).toBe('OK');
    const fewer = await pool.json<CacheJson>(['cache', 'scale', 'acache', '--replicas', '1'], { timeoutMs: 120_000 });
    expect([fewer.status, fewer.members.length]).toEqual(['READY', 2]);
    const before = fewer.members[0]?.maxBytes ?? 0;
    const bigger = await pool.json<CacheJson>(['cache', 'scale', 'acache', '--memory', '512m'], { timeoutMs: 180_000 });
    expect(bigger.status).toBe('READY');
    for (const { id, node } of bigger.members)
      expect((await pool.host(node).docker.getContainer(id).inspect()).HostConfig.Memory).toBe(512 * 2 ** 20);
    await until('data may take more', 30, async () =>
      (await status()).members.every(({ maxBytes }) => (maxBytes ?? 0) > before) ? true : undefined,
    );
    await pool.json(['cache', 'set', 'acache', 'maxmemory-policy=allkeys-lfu']);
    expect((await pool.cli(['cache', 'set', 'acache', 'engine=redis'])).code).toBe(2);
    expect((await pool.cli(['cache', 'scale', 'acache', '--memory', '4096'])).code).toBe(1);
    expect(await connect('acache', 'get', 'word')).toBe('kept');
    const metrics = await pool.json<{ status: string; services: { kind: string; name: string }[] }>(['status']);
    expect(metrics.services).toContainEqual(expect.objectContaining({ kind: 'cache', name: 'acache' }));
  });

  it('upgrades to another image under writes and loses nothing; refuses one with an older engine', async () => {
    const [next, old] = await Promise.all([imageOf('next', ''), imageOf('old', 'LABEL xcaas.valkey=8.1')]);
    const refused = await pool.cli(['cache', 'upgrade', 'acache', '--image', old, '--json']);
    expect([refused.code, error(refused.stdout).message]).toEqual([
      2,
      expect.stringMatching(/has valkey 8\.1, and acache runs valkey 9\.1/),
    ]);
    const before = await status();
    const writer = await startWriter('plain');
    const start = performance.now();
    const after = await pool.json<CacheJson>(['cache', 'upgrade', 'acache', '--image', next], { timeoutMs: 180_000 });
    measured('cache upgraded', performance.now() - start);
    const report = await writer.stop();
    tell('upgraded', report);
    expect([after.status, after.master === before.master, after.epoch]).toEqual(['READY', false, before.epoch + 1]);
    expect([...new Set(await imagesOf(after))]).toEqual(['next']);
    // Its only replica is counted on no more before it ends.
    expect({ errors: report.errors, lost: report.missing }).toEqual({ errors: [], lost: [] });
  });
});

describe('a cluster', { timeout: 300_000 }, () => {
  it('has a majority of its masters in no group, and is whole within 30 s', async () => {
    const start = performance.now();
    const made = await pool.json<CacheJson>(['cache', 'create', '--mode', 'cluster', '--memory', '256m', 'sharded'], {
      timeoutMs: 120_000,
    });
    const seconds = (performance.now() - start) / 1000;
    measured('cluster of six created', seconds * 1000);
    expect([made.status, made.mode, made.members.length], made.sentence).toEqual(['READY', 'cluster', 6]);
    const masters = made.members.filter(({ role }) => role === 'master');
    expect(new Set(masters.map(({ group }) => group)).size).toBe(3);
    expect(seconds).toBeLessThan(30);
    for (const word of ['a', 'b', 'c', 'd', 'e', 'f']) expect(await connect('sharded', 'set', word, `is ${word}`)).toBe('OK');
  });

  it('grows by two shards and shrinks again, with everything kept; refuses a restart that may lose some of it', async () => {
    for (const shards of [5, 3]) {
      const now = await pool.json<CacheJson>(['cache', 'scale', 'sharded', '--shards', String(shards)], { timeoutMs: 240_000 });
      expect([now.status, now.members.length]).toEqual(['READY', 2 * shards]);
      for (const word of ['a', 'd', 'f']) expect(await connect('sharded', 'get', word)).toBe(`is ${word}`);
    }
    const restart = await pool.cli(['cache', 'restart', 'sharded', '--json']);
    expect(error(restart.stdout)).toMatchObject({ code: 'conflict', hint: expect.stringContaining('persistence=aof') });
    for (const word of ['b', 'c', 'e']) expect(await connect('sharded', 'get', word)).toBe(`is ${word}`);
    const refused = await pool.cli(['cache', 'scale', 'sharded', '--shards', '4', '--json']);
    expect(error(refused.stdout).message).toMatch(/4 masters of sharded cannot be spread/);
  });

  it('is backed up shard by shard, and restored into as many shards', async () => {
    const made = await pool.json<{ state: string; shards: number }>(['cache', 'backup', 'create', 'sharded'], { timeoutMs: 120_000 });
    expect(made).toMatchObject({ state: 'done', shards: 3 });
    const refused = await pool.cli(['cache', 'restore', 'again', '--from', 'sharded', '--shards', '5', '--json']);
    expect(error(refused.stdout)).toMatchObject({
      message: expect.stringMatching(/of 3 shards/),
      hint: expect.stringMatching(/--shards 5/),
    });
    const start = performance.now();
    const copy = await pool.json<CacheJson>(['cache', 'restore', 'again', '--from', 'sharded'], { timeoutMs: 180_000 });
    measured('cluster of six restored', performance.now() - start);
    expect([copy.status, copy.mode, copy.members.length]).toEqual(['READY', 'cluster', 6]);
    for (const word of ['a', 'b', 'c', 'd', 'e', 'f']) expect(await connect('again', 'get', word)).toBe(`is ${word}`);
    await pool.json(['cache', 'destroy', 'again', '--purge', '--yes'], { timeoutMs: 120_000 });
  });

  it('upgrades shard by shard, once it keeps something on disk', async () => {
    const next = await imageOf('next', '');
    const refused = await pool.cli(['cache', 'upgrade', 'sharded', '--image', next, '--json']);
    expect([refused.code, error(refused.stdout).message]).toEqual([4, expect.stringMatching(/another image may lose keys/)]);
    await pool.json(['cache', 'set', 'sharded', 'persistence=aof']);
    const start = performance.now();
    const after = await pool.json<CacheJson>(['cache', 'upgrade', 'sharded', '--image', next], { timeoutMs: 240_000 });
    measured('cluster of six upgraded', performance.now() - start);
    expect([after.status, [...new Set(await imagesOf(after))]]).toEqual(['READY', ['next']]);
    for (const word of ['a', 'b', 'c', 'd', 'e', 'f']) expect(await connect('sharded', 'get', word)).toBe(`is ${word}`);
  });
});

describe('destroying', { timeout: 300_000 }, () => {
  it('keeps what is on disk for a while, from which it can be brought back', async () => {
    await pool.json(['cache', 'create', '--mode', 'standalone', '--opt', 'persistence=aof', '--memory', '256m', 'kept'], {
      timeoutMs: 60_000,
    });
    expect(await connect('kept', 'set', 'word', 'on disk')).toBe('OK');
    const { sentence } = await pool.json<{ sentence: string }>(['cache', 'destroy', 'kept', '--yes']);
    expect(sentence).toContain('kept until');
    const gone = await pool.cli(['cache', 'status', 'kept', '--json']);
    expect([gone.code, error(gone.stdout).hint]).toEqual([3, expect.stringContaining('cache undestroy kept')]);
    expect(await pool.json<CacheJson>(['cache', 'undestroy', 'kept'], { timeoutMs: 120_000 })).toMatchObject({ status: 'READY' });
    expect(await connect('kept', 'get', 'word')).toBe('on disk');
  });

  it('for good removes everything', async () => {
    for (const name of ['kept', 'lone', 'acache', 'sharded'])
      await pool.json(['cache', 'destroy', name, '--purge', '--yes'], { timeoutMs: 120_000 });
    for (const host of pool.hosts) {
      expect(await membersOn(host)).toEqual([]);
      expect(await host.run('bash', ['-c', `ls ${host.root}/var/lib/xcaas/volumes 2>/dev/null || true`])).toBe('');
    }
    expect(await pool.json(['cache', 'list'])).toEqual([]);
  });
});
