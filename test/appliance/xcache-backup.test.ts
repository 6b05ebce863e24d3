import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { startWebHdfs, type WebHdfsServer } from '#backup/spec-lib/webhdfs-server.ts';
import { type LabOptions, startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { docker, eventually } from '#test/xdb-lab.ts';
import type { NewCache } from '#xcache/spec.ts';
import { ask, backUp, recordOf, restored, verify } from './xcache-backup-lab.ts';

const open: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.stop();
});

async function lab(fields: Partial<NewCache>, options: LabOptions = {}): Promise<XcacheLab> {
  const here = await startXcacheLab(fields, options);
  open.push(here);
  return here;
}
async function members(here: XcacheLab): Promise<XcacheMember[]> {
  const made = await Promise.all(here.spec.members.map(({ id }) => here.member(id)));
  await whole(here).catch(async (error: unknown) => {
    const said = await Promise.all(made.map((each) => each.status().catch(String)));
    throw new Error(`${error}: ${JSON.stringify(said)} ${(await made[0]!.logs()).slice(-6000)}`);
  });
  return made;
}
const whole = (here: XcacheLab) =>
  eventually('all is well', async () => {
    const lead = await here.lead();
    return lead?.state === 'open' && lead.insync.length === here.spec.replicas;
  });
const keysOf = async (member: XcacheMember | undefined) => Number(await member?.cli('DBSIZE'));

describe('backups of a cache', () => {
  it('on a volume: made by the replica, encrypted, verified, kept to the plan, restored under a new name with nothing on its disk', async () => {
    const here = await lab({});
    const [one, two] = await members(here);
    const client = await one!.client();
    await Promise.all(Array.from({ length: 2000 }, (_, index) => client.set(`word:${index}`, `secret ${index}`)));
    await client.hset('hash', { field: 'value' });
    await client.set('short', 'life', 'EX', 3600);
    await client.select(3);
    await client.set('elsewhere', 'x');
    const made = await backUp(here);
    expect(made).toMatchObject({ state: 'done', member: 'acache-2', engine: 'valkey', encrypted: true, store: 'volume' });
    expect(made.engineVersion).toMatch(/^9\.1/);
    // Nothing of it is in clear, and nothing was left on the engine's disk.
    const found = await here.exec(
      two!.container,
      'sh',
      '-c',
      'grep -rl "secret 7" /var/lib/xcache-backup /var/lib/xcache/db; ls /var/lib/xcache/db',
    );
    expect(found.stdout).toBe('');
    expect(await verify(here, made)).toMatchObject({ state: 'done', ok: true, sentence: expect.stringContaining('2003 keys') });

    const other = await lab({ name: 'bcache' }, restored(here, made));
    const [copy, copyTwo] = await members(other);
    expect([await keysOf(copy), await keysOf(copyTwo)]).toEqual([2002, 2002]);
    expect(await copy!.cli('GET', 'word:1999')).toBe('secret 1999');
    expect(await copy!.cli('-n', '3', 'GET', 'elsewhere')).toBe('x');
    expect(Number(await copy!.cli('TTL', 'short'))).toBeGreaterThan(3000);
    // It is a cache of its own, which keeps what it was told to keep: nothing.
    expect((await here.exec(copy!.container, 'ls', '/var/lib/xcache/db')).stdout).toBe('');
    expect((await copy!.admin('GET', '/logs')).body).toMatchObject({
      lines: expect.arrayContaining([expect.stringContaining('is being restored from the backup')]),
    });

    // Of another engine: it says so, and does not begin.
    const wrong = await lab({ name: 'ccache', engine: 'redis', mode: 'standalone' }, restored(here, made));
    const stuck = await wrong.member('ccache-1');
    await eventually('it says why it does not begin', async () => (await stuck.status()).state === 'failed');
    expect((await stuck.status()).sentence).toContain('was made by valkey 9.1.2, and ccache is redis');

    // Two are kept.
    await here.respec({ backup: { ...here.spec.backup, keep: 2 } });
    const second = await backUp(here);
    await backUp(here);
    await eventually('the oldest is gone', async () => (await recordOf(here, made.id)) === undefined);
    // Changed by one bit: found out by whoever verifies.
    const keeper = second.member === 'acache-1' ? one! : two!;
    const path = (await here.exec(keeper.container, 'sh', '-c', `ls /var/lib/xcache-backup/acache/*/full/${second.id}/data`)).stdout.trim();
    const struck = await here.exec(keeper.container, 'sh', '-c', `printf 'changed!' | dd of=${path} bs=1 seek=900 conv=notrunc`);
    expect(struck.code).toBe(0);
    expect(await verify(here, second)).toMatchObject({ state: 'done', ok: false, sentence: expect.stringContaining('damaged') });
    client.disconnect();
  });

  it('that breaks off with its engine leaves nothing, says so, and the next one is made', async () => {
    const here = await lab({});
    const [one, two] = await members(here);
    const client = await one!.client();
    for (let index = 0; index < 40; index += 1) await client.set(`large:${index}`, randomBytes(2 ** 20));
    // Slow enough to be met in the middle of it.
    await docker('update', '--cpus', '0.3', two!.container);
    const id = await ask(here);
    await eventually('some of it is stored', async () => ((await recordOf(here, id))?.bytes ?? 0) > 0);
    const { run } = await two!.status();
    await two!.signal('engine', 'KILL');
    await docker('update', '--cpus', '2', two!.container);
    await eventually('it has failed', async () => (await recordOf(here, id))?.state === 'failed');
    expect((await recordOf(here, id))?.error).toContain('the snapshot broke off');
    expect((await here.exec(two!.container, 'find', '/var/lib/xcache-backup', '-name', '*', '-type', 'f')).stdout).toBe('');
    await eventually('it follows again', async () => {
      const status = await two!.status();
      return status.run !== run && status.state === 'running';
    });
    await whole(here);
    expect(await backUp(here)).toMatchObject({ state: 'done', member: 'acache-2' });
    await eventually('it is counted', async () => /^xcaas_cache_backups 1$/m.test(String((await one!.admin('GET', '/metrics')).body)));
    client.disconnect();
  });

  it('in a store of its own: restored when every member is gone, into a cache that keeps an append-only file', async () => {
    const here = await lab({ engine: 'redis' }, { credentials: { store: { user: 'backup' } } });
    const gateway = await docker('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', here.network);
    const hdfs: WebHdfsServer = await startWebHdfs(gateway);
    open.push(hdfs);
    const store = `${hdfs.endpoint.replace('http://', 'webhdfs://')}/backups`;
    const [one, two] = await members(here);
    const client = await one!.client();
    await Promise.all(Array.from({ length: 500 }, (_, index) => client.set(`k:${index}`, index)));
    client.disconnect();
    expect(await one!.admin('POST', '/backup/probe', { store, account: { user: 'backup' } })).toMatchObject({ status: 200 });
    expect(await one!.admin('POST', '/backup/probe', { store: store.replace(/:\d+\//, ':1/') })).toMatchObject({ status: 503 });
    await here.respec({ backup: { ...here.spec.backup, store } });
    // Where no replica is left, the master makes it.
    await two!.kill();
    await eventually('the replica is off the record', async () => (await here.lead())?.insync.length === 0);
    const made = await backUp(here, store);
    expect(made).toMatchObject({ state: 'done', member: 'acache-1', engine: 'redis', store });
    expect([...hdfs.files.keys()].some((path) => path.startsWith('/backups/cache/acache/'))).toBe(true);
    await one!.kill();

    const other = await lab({ name: 'bcache', engine: 'redis', persistence: 'aof' }, restored(here, made));
    const both = await members(other);
    await eventually('it is in the append-only file', async () => {
      const seen = await Promise.all(both.map((each) => each.admin('GET', '/settings')));
      return seen.every(({ body }) => (body as { persistence?: string }).persistence === 'aof');
    });
    await Promise.all(both.map((each) => each.kill()));
    await Promise.all(both.map((each) => each.start()));
    await eventually(
      'it takes writes again',
      async () => ((await other.lead())?.epoch ?? 0) > 1 && (await both[0]!.status()).state === 'running',
    );
    expect(await keysOf(both[0])).toBe(500);
  });
});
