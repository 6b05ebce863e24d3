import { afterEach, describe, expect, it } from 'vitest';
import { type LabOptions, startXcacheLab, type XcacheLab } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { CacheBackupMarker } from '#xcache/backup/schema.ts';
import { SLOTS } from '#xcache/cluster/slots.ts';
import type { NewCache } from '#xcache/spec.ts';
import { ask, backUp, recordOf, restored, verify } from './xcache-backup-lab.ts';
import { type ClusterLab, startClusterLab } from './xcache-cluster-lab.ts';

const open: { stop(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.stop();
});

async function cluster(fields: Partial<NewCache>, options?: LabOptions): Promise<ClusterLab> {
  const made = await startClusterLab(fields, options);
  open.push(made.lab);
  return made;
}

/** Role and number of keys of each member, by the engines' own word: what their sidecars say may be a turn old. */
function copiesOf({ lab, member }: ClusterLab): Promise<{ id: string; role: string; keys: number }[]> {
  return Promise.all(
    lab.spec.members.map(async ({ id }) => {
      const [role = ''] = (await member(id).cli('ROLE')).split('\n');
      return { id, role, keys: Number(await member(id).cli('DBSIZE')) };
    }),
  );
}

/** Keys of all masters together. */
async function keysOf(here: ClusterLab): Promise<number> {
  return (await copiesOf(here)).reduce((sum, { role, keys }) => sum + (role.trim() === 'master' ? keys : 0), 0);
}

async function markerOf({ lab, member }: ClusterLab, by: string, id: string): Promise<CacheBackupMarker> {
  const { stdout } = await lab.exec(member(by).container, 'sh', '-c', `cat /var/lib/xcache-backup/${lab.cache}/*/full/${id}/backup.json`);
  return CacheBackupMarker.parse(JSON.parse(stdout));
}

/** What the first member of a cluster that is to be restored says about it. */
async function complaintOf(beside: XcacheLab, fields: Partial<NewCache>, options: LabOptions): Promise<string> {
  const lab = await startXcacheLab({ mode: 'cluster', ...fields }, { ...options, beside });
  open.push(lab);
  const first = await lab.member(`${lab.cache}-1`, { env: { XCAAS_MODE: 'cluster' } });
  await eventually('it says why it does not begin', async () => (await first.status()).state === 'failed');
  return (await first.status()).sentence;
}

describe('a backup of a cluster', () => {
  it('that is made while slots move has every key once, and becomes a cluster with the slots of that moment', async () => {
    const here = await cluster({});
    await here.whole(3, 30_000);
    const client = await here.client();
    const words = Array.from({ length: 3000 }, (_, index) => `word:${index}`);
    await Promise.all(words.map((word) => client.set(word, `secret ${word}`)));
    await client.set('short', 'life', 'EX', 3600);
    await client.hset('hash', { field: 'value' });
    await here.scale(4);
    await here.becomes('slots move', ({ progress }) => progress !== undefined && progress.left < progress.total, 30_000);
    const id = await ask(here.lab);
    await eventually('the backup is made', async () => ['done', 'failed'].includes((await recordOf(here.lab, id))?.state ?? ''));
    const made = await recordOf(here.lab, id);
    expect(made).toMatchObject({ state: 'done', engine: 'valkey', encrypted: true, shards: 4 });
    const marker = await markerOf(here, made!.member!, id);
    const shares = marker.cluster!.parts.map(({ slots }) => slots.reduce((sum, { first, last }) => sum + last - first + 1, 0));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(SLOTS);
    // It did not wait for the last of them.
    expect(shares[3]).toBeLessThan(4096);
    // Each was given by a replica, and so was the work.
    const roles = await here.statuses();
    expect(marker.cluster!.parts.map(({ member }) => roles.get(member)?.role)).toEqual(['replica', 'replica', 'replica', 'replica']);
    expect(roles.get(made!.member!)?.role).toBe('replica');
    expect(await verify(here.lab, made!)).toMatchObject({ ok: true, sentence: expect.stringContaining(`${words.length + 2} keys`) });
    await here.whole(4);
    client.disconnect();

    const other = await cluster({ name: 'bcache', shards: 4 }, restored(here.lab, made!));
    await other.whole(4, 60_000);
    const reader = await other.client();
    expect(await keysOf(other), JSON.stringify(await copiesOf(other))).toBe(words.length + 2);
    expect(await Promise.all(words.map((word) => reader.get(word)))).toEqual(words.map((word) => `secret ${word}`));
    expect(await reader.ttl('short')).toBeGreaterThan(3000);
    // Replicas have it as well, and nothing is kept on disk that was not to be.
    await eventually('all have their copies', async () => {
      const counts = await Promise.all(other.lab.spec.members.map(async ({ id: each }) => Number(await other.member(each).cli('DBSIZE'))));
      return counts.reduce((sum, count) => sum + count, 0) === 2 * (words.length + 2);
    });
    const names = await Promise.all(
      other.lab.spec.members.map(
        async ({ id: each }) => (await other.lab.exec(other.member(each).container, 'ls', '/var/lib/xcache/db')).stdout,
      ),
    );
    expect([...new Set(names.flatMap((text) => text.trim().split('\n')))]).toEqual(['nodes.conf']);
    expect(await reader.set('after', 'taken')).toBe('OK');

    expect(await complaintOf(here.lab, { name: 'ccache', shards: 3 }, restored(here.lab, made!))).toContain(
      'is of a cluster of 4 shards, and ccache is to have 3',
    );
  });

  it('of Redis with TLS, without replicas, into one that keeps an append-only file', async () => {
    const shape = { engine: 'redis', tls: true, replicas: 0, persistence: 'aof' } as const;
    const here = await cluster(shape);
    await here.whole(3, 30_000);
    const client = await here.client();
    await Promise.all(Array.from({ length: 500 }, (_, index) => client.set(`k:${index}`, index)));
    client.disconnect();
    const made = await backUp(here.lab);
    expect(made).toMatchObject({ state: 'done', engine: 'redis', shards: 3 });
    expect((await markerOf(here, made.member!, made.id)).cluster?.parts.map(({ member }) => member)).toEqual([
      'acache-1',
      'acache-2',
      'acache-3',
    ]);

    const other = await cluster({ name: 'bcache', ...shape }, restored(here.lab, made));
    await other.whole(3, 60_000);
    expect(await keysOf(other)).toBe(500);
    await eventually('it is in the append-only files', async () => {
      const seen = await Promise.all(other.lab.spec.members.map(({ id }) => other.member(id).admin('GET', '/settings')));
      return seen.every(({ body }) => (body as { persistence?: string }).persistence === 'aof');
    });
    // What it began with is not fetched again: what became of it since is on its own disks.
    const user = await other.client();
    await user.set('since', 'then');
    await Promise.all(other.lab.spec.members.map(({ id }) => other.member(id).signal('engine', 'KILL')));
    await eventually('all is there again', async () => (await keysOf(other)) === 501);
    // Masters that were started take no commands for two seconds.
    await eventually('they take commands again', async () => (await user.get('since')) === 'then');
  });
});
