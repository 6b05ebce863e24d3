import { describe, expect, it } from 'vitest';
import { apiOf, cli } from '#test/cli-driver.ts';

const member = (id: string, role: string, change: object = {}) => ({
  ...{ id, role, state: 'running', sentence: `${id} does what it should`, node: `n${id.at(-1)}`, group: `group${id.at(-1)}`, shard: 0 },
  ...{ insync: role === 'replica', offset: 42, usedBytes: 1_048_576, maxBytes: 104_857_600, slots: null, changing: false },
  ...change,
});
const view = (change: object = {}) => ({
  ...{ name: 'acache', status: 'READY', sentence: 'acache-1 on n1 takes writes, acache-2 on n2 is in sync' },
  ...{ engine: 'valkey', version: '9.1.2', mode: 'replicated', epoch: 3, master: 'acache-1', next: [] },
  ...{ persistence: 'none', policy: 'allkeys-lru', replicas: 1, shards: 1 },
  endpoint: { host: 'acache', port: 6379, replicaPort: 6380, sentinelPort: 26379, network: 'xcaas', published: [] },
  members: [member('acache-1', 'master'), member('acache-2', 'replica')],
  ...change,
});
const at = '/v1/caches/acache';

describe('a cache', () => {
  it('is made as it was asked for, and shown once it is there', async () => {
    const { env, asked } = await apiOf({
      'POST /v1/caches': { status: 202, body: { name: 'acache' } },
      [`GET ${at}`]: [{ body: view({ status: 'PENDING', sentence: 'acache is being made' }) }, { body: view() }],
    });
    const ran = await cli(
      'cache create -d xcache --memory 4 --replicas 2 --opt engine=redis --opt maxmemory-policy=noeviction --publish 7000 acache',
      { env },
    );
    expect(asked[0]?.body).toMatchObject({
      ...{ name: 'acache', memoryBytes: 4 * 2 ** 30, replicas: 2, network: 'xcaas', publish: ['7000'] },
      options: { engine: 'redis', 'maxmemory-policy': 'noeviction' },
    });
    expect(ran).toMatchObject({ exit: 0, stderr: 'acache: acache is being made\n' });
    expect(ran.stdout).toMatch(/acache:6379 master {2}acache:6380 replica {2}acache:26379 Sentinel/);
    expect(ran.stdout).toMatch(/acache-2 +replica \(in sync\) +running +n2 +group2 +1(\.0)? MiB of 100/);
  });

  it('is not taken for made by a look that finds less than the next; one that stays so is shown as it is', async () => {
    const less = { status: 'DEGRADED', sentence: 'acache-2 does not answer' };
    const create = { 'POST /v1/caches': { status: 202, body: { name: 'acache' } } };
    const passing = await apiOf({ ...create, [`GET ${at}`]: [{ body: view(less) }, { body: view() }] });
    const made = await cli('cache create -d acache', { env: passing.env });
    expect(made.stdout).toContain('READY');
    expect(made.stderr).toBe('acache: acache-2 does not answer\n');
    const stays = await apiOf({ ...create, [`GET ${at}`]: { body: view(less) } });
    const lacking = await cli('cache create -d acache', { env: stays.env });
    expect([lacking.exit, lacking.stdout]).toEqual([0, expect.stringContaining('DEGRADED')]);
  });

  it('has a name and a mode that there is', async () => {
    expect(await cli('cache create -d xcache')).toMatchObject({ exit: 2, stderr: expect.stringContaining('it has no name') });
    expect(await cli('cache create --mode sharded acache')).toMatchObject({
      exit: 2,
      stderr: expect.stringContaining('no mode "sharded"'),
    });
    const { env, asked } = await apiOf({ 'POST /v1/caches': { status: 202, body: {} }, [`GET ${at}`]: { body: view() } });
    await cli('cache create -d acache', { env });
    expect(asked[0]?.body).toMatchObject({ name: 'acache' });
  });

  it('that is not as it should be ends its status with 6', async () => {
    const { env } = await apiOf({ [`GET ${at}`]: { body: view({ status: 'DEGRADED', next: ['cache topology acache'] }) } });
    expect(await cli('cache status acache', { env })).toMatchObject({
      exit: 6,
      stdout: expect.stringContaining('next       cache topology acache'),
    });
    const { stdout } = await cli('cache topology acache', { env });
    expect(stdout).toBe(
      [
        'acache  DEGRADED  epoch 3',
        'acache-1  master  running  on n1 (group1)\n   acache-1 does what it should',
        '└─ acache-2  replica (in sync)  running  on n2 (group2)\n      acache-2 does what it should\n',
      ].join('\n'),
    );
  });

  it('has an address for each kind of client', async () => {
    const urls = { plain: 'redis://a:b@acache:6379', sentinel: 'redis-sentinel://a:b@acache-1:26379#acache' };
    const { env } = await apiOf({ [`GET ${at}/url`]: { body: { url: urls.plain, urls } } });
    expect((await cli('cache url acache', { env })).stdout).toBe(`${urls.plain}\n`);
    expect((await cli('cache url acache --client sentinel', { env })).stdout).toBe(`${urls.sentinel}\n`);
    expect((await cli('cache url acache --client all', { env })).stdout).toContain(urls.sentinel);
    const wrong = await cli('cache url acache --client cluster --json', { env });
    expect([wrong.exit, JSON.parse(wrong.stdout).error]).toEqual([
      2,
      expect.objectContaining({ hint: 'use --client plain, sentinel, all' }),
    ]);
  });

  it('that changes its master is followed to the end; what was not carried out is a conflict', async () => {
    const order = { id: 'x', state: 'asked' };
    const answers = (end: object) => ({
      [`POST ${at}/switchover`]: { status: 202, body: order },
      [`GET ${at}/moves/x`]: [{ body: { ...order, sentence: 'the order is given' } }, { body: { ...order, ...end } }],
    });
    const good = await apiOf(answers({ state: 'done', sentence: 'acache-2 leads (epoch 4), and nothing was lost' }));
    expect(await cli('cache switchover acache --to acache-2', { env: good.env })).toMatchObject({
      exit: 0,
      stdout: 'acache-2 leads (epoch 4), and nothing was lost\n',
    });
    expect(good.asked[0]?.body).toEqual({ to: 'acache-2' });
    const bad = await apiOf(answers({ state: 'failed', sentence: 'acache-1 leads: acache-2 did not catch up in time' }));
    expect(await cli('cache switchover acache', { env: bad.env })).toMatchObject({
      exit: 4,
      stderr: expect.stringContaining('did not catch up'),
    });
  });

  it('that is forced to fail over is shown when another one leads', async () => {
    const { env, asked } = await apiOf({
      [`POST ${at}/failover`]: { status: 202, body: { epoch: 3, master: 'acache-1', sentence: '' } },
      [`GET ${at}`]: [
        { body: view() },
        { body: view() },
        { body: view({ status: 'DOWN', master: null }) },
        { body: view({ epoch: 4, master: 'acache-2' }) },
      ],
    });
    expect((await cli('cache failover acache', { env })).exit).toBe(2);
    const ran = await cli('cache failover acache --yes --json', { env });
    expect(JSON.parse(ran.stdout)).toMatchObject({ epoch: 4, master: 'acache-2' });
    expect(asked.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });

  it('that is scaled is waited for until it has its members, each with the change', async () => {
    const three = [member('acache-1', 'master'), member('acache-2', 'replica'), member('acache-3', 'replica')];
    const { env, asked } = await apiOf({
      [`PATCH ${at}`]: { status: 202, body: { name: 'acache' } },
      [`GET ${at}`]: [
        { body: view() },
        { body: view({ replicas: 2 }) },
        { body: view({ replicas: 2, members: [...three.slice(0, 2), member('acache-3', 'replica', { changing: true })] }) },
        { body: view({ replicas: 2, members: three }) },
      ],
    });
    const ran = await cli('cache scale acache --replicas 2 --memory 512m', { env });
    expect(asked[1]).toMatchObject({ method: 'PATCH', body: { replicas: 2, memoryBytes: 2 ** 29 } });
    expect(ran.stderr).toContain('acache-3 has yet to be changed');
    expect(ran.stdout).toContain('acache-3');
  });

  it('that is upgraded is waited for until every member runs the other image', async () => {
    const { env, asked } = await apiOf({
      [`POST ${at}/upgrade`]: { status: 202, body: { name: 'acache', changed: true, sentence: 'members are to run xcaas/xcache:2' } },
      [`GET ${at}`]: [{ body: view() }, { body: view({ members: [member('acache-2', 'replica', { changing: true })] }) }, { body: view() }],
    });
    const ran = await cli('cache upgrade acache --image xcaas/xcache:2 --force', { env });
    expect(ran).toMatchObject({
      exit: 0,
      stderr: expect.stringMatching(/^members are to run xcaas\/xcache:2\nacache: .*yet to be changed/),
    });
    expect(asked.find(({ method }) => method === 'POST')?.body).toEqual({ image: 'xcaas/xcache:2', force: true });
  });

  it('is set and told by pairs, and restarted with the master handing over', async () => {
    const { env, asked } = await apiOf({
      [`PATCH ${at}/options`]: { body: { sentence: 'min-replicas=0: set' } },
      [`POST ${at}/restart`]: { status: 202, body: { sentence: 'the members of acache are restarted, one after another' } },
      [`GET ${at}`]: { body: view() },
    });
    expect(await cli('cache set acache min-replicas=0', { env })).toMatchObject({ exit: 0, stdout: 'min-replicas=0: set\n' });
    expect(await cli('cache restart acache', { env })).toMatchObject({ stdout: expect.stringContaining('one after another') });
    expect(asked.find(({ method }) => method === 'PATCH')?.body).toEqual({ set: { 'min-replicas': '0' } });
    expect(asked.find(({ method }) => method === 'POST')?.body).toEqual({ force: false });
  });

  it('is destroyed after a question, its data at once only when that is said', async () => {
    const gone = { status: 404, body: { error: { code: 'not_found', message: 'acache is gone' } } };
    const { env, asked } = await apiOf({
      [`DELETE ${at}?keepData=false&purge=true`]: { status: 202, body: { sentence: 'acache is being removed' } },
      [`GET ${at}`]: [{ body: view() }, { body: view() }, gone],
    });
    expect((await cli('cache destroy acache --purge', { env })).exit).toBe(2);
    expect(asked.some(({ method }) => method === 'DELETE')).toBe(false);
    expect(await cli('cache destroy acache --purge --yes', { env })).toMatchObject({ exit: 0, stdout: 'acache is removed\n' });
  });
});
