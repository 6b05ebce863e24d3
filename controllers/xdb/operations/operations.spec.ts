import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { listEvents } from '#pool/events.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { living, operationsWorld as world } from '#test/xdb-operations.ts';
import { ago, gib, sidecar, sync } from '#test/xdb-world.ts';
import { type CreateDbRequest, createDb } from '#xdb/operations/create.ts';
import { destroyDb, undestroyDb } from '#xdb/operations/destroy.ts';
import { pauseDb, reinitMember, resizeDb, restartDb, resumeDb } from '#xdb/operations/maintain.ts';
import { cancelMove, orderFailover, orderSwitchover, readMove } from '#xdb/operations/move.ts';
import { listParameters, setParameters } from '#xdb/operations/parameters.ts';
import { dbUrl, dbView, listDbs } from '#xdb/operations/view.ts';
import type { DbStatus } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

describe('create', () => {
  it('writes specification, birth and sealed credentials at once, and nothing the second time', async () => {
    const { kv, deps } = await world();
    const spec = await createDb(deps, { name: 'adb', memoryBytes: gib(4), options: { 'param.max_connections': '50' } });
    expect(spec).toMatchObject({ name: 'adb', parameters: { max_connections: '50' }, imageId: expect.stringMatching(/^sha256:/) });
    const keys = kv.keys().filter((key) => key.startsWith('xcaas/db/'));
    expect(keys).toEqual(['xcaas/db/adb/birth', 'xcaas/db/adb/credentials', 'xcaas/db/adb/spec']);
    const { writes } = kv;
    expect(await createDb(deps, { name: 'adb' })).toEqual(spec);
    expect(await createDb(deps, { name: 'adb', memoryBytes: gib(4), options: { engine: 'innodb' } })).toEqual(spec);
    expect(kv.writes).toBe(writes);
  });

  it('refuses another specification under the same name, showing the difference', async () => {
    const { deps } = await world();
    await createDb(deps, { name: 'adb' });
    await expect(createDb(deps, { name: 'adb', memoryBytes: gib(2), options: { role: 'single' } })).rejects.toEqual(
      code('conflict', /role: single instead of pair; memory: 2 GiB instead of 1 GiB/),
    );
  });

  it.each<[string, Partial<CreateDbRequest>, string, RegExp]>([
    ['a name that is none', { name: 'A b' }, 'invalid', /name/],
    ['an option that is none', { options: { colour: 'red' } }, 'usage', /colour/],
    ['a label that no host has with that value', { options: { group: 'group9' } }, 'no_host', /0 with group=group9/],
    ['more memory than any host has', { memoryBytes: gib(64) }, 'no_host', /memory/],
    ['more CPUs than any host has', { cpus: 64 }, 'no_host', /64 CPUs/],
    ['more disk than any host has', { diskBytes: gib(9000) }, 'no_host', /disk/],
    ['too little memory', { memoryBytes: 1000 }, 'invalid', /too little/],
    ['an image that is not there', { image: 'nowhere:1' }, 'not_found', /nowhere:1/],
    ['an image that is no appliance', { image: 'nginx' }, 'invalid', /no appliance/],
    ['an image of another appliance', { image: 'xcaas/xlb:1234' }, 'invalid', /appliance xlb/],
    ['a parameter that would break replication', { options: { 'param.sync_binlog': '0' } }, 'invalid', /sync_binlog/],
    ['a network that is not there', { network: 'gone' }, 'not_found', /gone/],
    ['a network of one host', { network: 'lan' }, 'invalid', /bridge/],
    ['a network for services only', { network: 'swarm' }, 'invalid', /not attachable/],
    ['a port that is none', { publish: ['http'] }, 'usage', /http/],
    ['another flavour', { options: { flavor: 'mysql' } }, 'not_implemented', /mysql/],
  ])('refuses %s before anything is written', async (_, request, wanted, message) => {
    const { kv, deps } = await world();
    await expect(createDb(deps, { name: 'adb', ...request })).rejects.toEqual(code(wanted, message));
    expect(kv.keys().filter((key) => key.startsWith('xcaas/db/'))).toEqual([]);
  });

  it('refuses a name or port of another service, and data that another database left', async () => {
    const services: ServiceInUse[] = [
      { kind: 'lb', name: 'web', hostPorts: [8080] },
      { kind: 'lb', name: 'adb-1', hostPorts: [] },
    ];
    const taken = await world({ services });
    await expect(createDb(taken.deps, { name: 'web' })).rejects.toEqual(code('conflict', /load balancer web/));
    await expect(createDb(taken.deps, { name: 'adb' })).rejects.toEqual(code('conflict', /adb-1/));
    await expect(createDb(taken.deps, { name: 'web-2' })).rejects.toEqual(code('conflict', /members of the load balancer web/));
    await expect(createDb(taken.deps, { name: 'db', publish: ['8080'] })).rejects.toEqual(code('port_taken', /8080.*load balancer web/));
    await createDb(taken.deps, { name: 'db', publish: ['8081'] });
    await expect(createDb(taken.deps, { name: 'other', publish: ['8081'] })).rejects.toEqual(code('port_taken', /database db/));

    const left = await world({
      volumes: [
        { member: 'adb-2', volumes: ['data'], kept: false },
        { member: 'empty-1', volumes: [], kept: false },
      ],
    });
    await expect(createDb(left.deps, { name: 'adb' })).rejects.toEqual(code('conflict', /holds data of an earlier adb-2/));
    await createDb(left.deps, { name: 'empty' });
  });

  it('an agent that does not say which data it has does not keep it from being made', async () => {
    const made = await world();
    const agent = {
      network: async () => ({ driver: 'overlay', attachable: true }),
      volumes: () => Promise.reject(new AppError('timeout', 'no')),
    };
    made.deps.agent = () => agent as unknown as AgentClient;
    expect((await createDb(made.deps, { name: 'adb' })).name).toBe('adb');
  });
});

describe('looking', () => {
  it('shows what the records say, with passwords in the URL only', async () => {
    const made = await world();
    await living(made);
    const view = await dbView(made.deps, 'adb');
    expect(view).toMatchObject({
      name: 'adb',
      status: 'PENDING',
      master: 'adb-1',
      sync: 'adb-2',
      epoch: 1,
      endpoint: { host: 'adb', port: 3306, replicaPort: 3307, network: 'xcaas', published: [] },
      members: [
        { id: 'adb-1', role: 'master', state: 'running', node: 'host-1', group: 'group1' },
        { id: 'adb-2', role: 'slave', state: 'running', node: 'host-2', lagSeconds: 0 },
      ],
    });
    const url = await dbUrl(made.deps, 'adb', { replica: true });
    expect(url).toMatchObject({ host: 'adb', port: 3307, user: 'adb', database: 'adb', ca: 'CA' });
    expect(url.url).toBe(`mysql://adb:${url.password}@adb:3307/adb`);
    expect(JSON.stringify([view, await listDbs(made.deps)])).not.toContain(url.password);
    await expect(dbUrl(made.deps, 'adb', { replica: false, user: 'nobody' })).rejects.toEqual(code('not_found', /nobody/));
    await expect(dbView(made.deps, 'nothing')).rejects.toEqual(code('not_found', /no database "nothing"/));
  });

  it('does not repeat the controller’s last word once who leads has changed', async () => {
    const made = await world();
    await living(made);
    const { modifyIndex } = await made.store.spec('adb');
    const seen = { epoch: 1, leader: 'adb-1', sync: 'adb-2' };
    const said: DbStatus = {
      v: 1,
      status: 'READY',
      sentence: 'all is well',
      next: [],
      specIndex: modifyIndex,
      time: ago(9),
      firstReady: ago(9),
      seen,
    };
    await made.store.statuses.update(dbKeys('adb').status, () => said);
    expect(await dbView(made.deps, 'adb')).toMatchObject({ status: 'READY', sentence: 'all is well' });
    // The controller was on the host that is lost now, and is not another one yet.
    await made.store.syncs.update(dbKeys('adb').sync, () => sync('adb-1', null, { rev: 2 }));
    const wanted = { status: 'DEGRADED', sentence: expect.stringContaining('nobody but adb-1 holds the newest writes') };
    expect(await dbView(made.deps, 'adb')).toMatchObject(wanted);
    expect(await listDbs(made.deps)).toMatchObject([wanted]);
  });
});

describe('switchover and failover', () => {
  it('are ordered for the slave that holds everything, one at a time', async () => {
    const made = await world();
    await living(made);
    const order = await orderSwitchover(made.deps, 'adb', {});
    expect(order).toMatchObject({ kind: 'switchover', target: 'adb-2', state: 'asked' });
    expect(await readMove(made.deps, 'adb', order.id)).toMatchObject({
      state: 'asked',
      sentence: expect.stringContaining('adb-2 is to lead'),
    });
    await expect(orderFailover(made.deps, 'adb')).rejects.toEqual(code('conflict', /switchover under way/));
    await made.store.moves.update(dbKeys('adb').move, (present) => present && { ...present, state: 'done', blockedMs: 93.4 });
    expect((await readMove(made.deps, 'adb', order.id)).sentence).toContain('writes were held for 93 ms');
    const failover = await orderFailover(made.deps, 'adb');
    expect(failover).toMatchObject({ kind: 'failover', target: 'adb-2' });
    await expect(readMove(made.deps, 'adb', order.id)).rejects.toEqual(code('not_found'));
  });

  it.each<[string, Parameters<typeof living>[1], string | undefined, RegExp]>([
    ['the member that leads', {}, 'adb-1', /adb-1 leads already/],
    ['one that is down', { sidecars: [sidecar('adb-1', 'master')] }, 'adb-2', /adb-2 is down/],
    ['one that is down, unnamed', { sidecars: [sidecar('adb-1', 'master')] }, undefined, /adb-2 is down/],
    [
      'one that lags, saying by how much',
      { sidecars: [sidecar('adb-1', 'master'), sidecar('adb-2', 'slave', { lagSeconds: 73 })] },
      undefined,
      /adb-2 is 73 s behind/,
    ],
    ['one that is not in sync', { sync: sync('adb-1', null) }, 'adb-2', /adb-2 cannot lead: nobody but adb-1 holds everything/],
    ['nobody', { sync: sync('adb-1', null) }, undefined, /nobody but adb-1 holds everything/],
    [
      'one that catches up',
      { sidecars: [sidecar('adb-1', 'master'), sidecar('adb-2', 'slave', { state: 'catching_up' })] },
      undefined,
      /adb-2 is catching up/,
    ],
    ['while somebody takes over', { sync: sync('adb-2', null, { state: 'promoting' }) }, undefined, /adb-2 is taking over/],
  ])('to %s is refused before anything is done', async (_, records, to, message) => {
    const made = await world();
    await living(made, records);
    await expect(orderSwitchover(made.deps, 'adb', { to })).rejects.toEqual(code('conflict', message));
    expect(await made.store.moves.get(dbKeys('adb').move)).toBeUndefined();
  });

  it('to a member that is none, or of a single one, is refused', async () => {
    const made = await world();
    await living(made);
    await expect(orderSwitchover(made.deps, 'adb', { to: 'adb-9' })).rejects.toEqual(code('not_found', /adb-9/));
    await createDb(made.deps, { name: 'one', options: { role: 'single' } });
    await expect(orderSwitchover(made.deps, 'one', {})).rejects.toEqual(code('conflict', /one member/));
  });

  it('for later can be called off; one that is under way cannot', async () => {
    const made = await world();
    await living(made);
    await expect(orderSwitchover(made.deps, 'adb', { at: ago(1) })).rejects.toEqual(code('invalid', /is over/));
    await orderSwitchover(made.deps, 'adb', { at: ago(-60) });
    await expect(orderSwitchover(made.deps, 'adb', {})).rejects.toEqual(code('conflict', /ordered for/));
    expect(await cancelMove(made.deps, 'adb')).toMatchObject({ sentence: expect.stringContaining('called off') });
    await expect(cancelMove(made.deps, 'adb')).rejects.toEqual(code('not_found'));
    await orderSwitchover(made.deps, 'adb', {});
    await expect(cancelMove(made.deps, 'adb')).rejects.toEqual(code('conflict', /under way/));
  });
});

describe('maintenance', () => {
  it('restarts one member by its sidecar, all by the specification', async () => {
    const made = await world();
    await living(made);
    await restartDb(made.deps, 'adb', 'adb-2');
    expect(made.asked).toEqual([{ member: 'adb-2', method: 'POST', path: '/restart-engine' }]);
    await restartDb(made.deps, 'adb', undefined);
    expect((await made.store.spec('adb')).value.restartSerial).toBe(1);
    await expect(restartDb(made.deps, 'adb', 'adb-7')).rejects.toEqual(code('not_found', /adb-7/));
  });

  it('makes a slave anew, never the member that leads', async () => {
    const made = await world();
    await living(made);
    await reinitMember(made.deps, 'adb', 'adb-2');
    expect(made.asked).toEqual([{ member: 'adb-2', method: 'POST', path: '/reinit' }]);
    await expect(reinitMember(made.deps, 'adb', 'adb-1')).rejects.toEqual(code('conflict', /adb-1 leads/));
  });

  it('resizes only to what fits where the members are', async () => {
    const made = await world();
    await living(made);
    await expect(resizeDb(made.deps, 'adb', {})).rejects.toEqual(code('usage'));
    await expect(resizeDb(made.deps, 'adb', { memoryBytes: gib(64) })).rejects.toEqual(code('no_host', /memory/));
    await expect(resizeDb(made.deps, 'adb', { memoryBytes: 1 })).rejects.toEqual(code('invalid'));
    expect(await resizeDb(made.deps, 'adb', { memoryBytes: gib(2), cpus: 2 })).toMatchObject({
      memoryBytes: gib(2),
      cpus: 2,
      diskBytes: gib(10),
    });
    const view = await dbView(made.deps, 'adb');
    expect(view.members.every(({ changing }) => changing)).toBe(true);
  });

  it('does not make a disk smaller than what lies on it', async () => {
    const full = sidecar('adb-1', 'master', { disk: { usedBytes: gib(6), totalBytes: gib(10), state: 'ok' } });
    const made = await world();
    await living(made, { sidecars: [full, sidecar('adb-2', 'slave')] });
    await expect(resizeDb(made.deps, 'adb', { diskBytes: gib(5) })).rejects.toEqual(code('conflict', /lie on the disk/));
    await resizeDb(made.deps, 'adb', { diskBytes: gib(8) });
  });

  it('pauses for a while that has an end', async () => {
    const made = await world();
    await living(made);
    expect(await pauseDb(made.deps, 'adb', 60)).toMatchObject({ pausedUntil: ago(-60) });
    await expect(pauseDb(made.deps, 'adb', 0)).rejects.toEqual(code('invalid'));
    await expect(pauseDb(made.deps, 'adb', 10 ** 9)).rejects.toEqual(code('invalid'));
    await resumeDb(made.deps, 'adb');
    expect((await made.store.spec('adb')).value.pausedUntil).toBeUndefined();
  });

  it('sets parameters, with a restart of the engines only where one is needed', async () => {
    const made = await world();
    await living(made);
    expect(await setParameters(made.deps, 'adb', { 'max-connections': '50' })).toMatchObject({ restarts: [] });
    expect((await made.store.spec('adb')).value).toMatchObject({ parameters: { max_connections: '50' }, restartSerial: 0 });
    expect(await setParameters(made.deps, 'adb', { innodb_read_io_threads: '8' })).toMatchObject({ restarts: ['innodb_read_io_threads'] });
    expect((await made.store.spec('adb')).value.restartSerial).toBe(1);
    await expect(setParameters(made.deps, 'adb', { rpl_semi_sync_master_timeout: '1' })).rejects.toEqual(code('invalid'));
    await expect(setParameters(made.deps, 'adb', {})).rejects.toEqual(code('usage'));
    await setParameters(made.deps, 'adb', { max_connections: '' });
    expect((await made.store.spec('adb')).value.parameters).toEqual({ innodb_read_io_threads: '8' });
    const rows = await listParameters(made.deps, 'adb');
    expect(rows.filter(({ changed }) => changed).map(({ name }) => name)).toEqual(['innodb_read_io_threads']);
  });
});

describe('destroy', () => {
  it('keeps the data for a while, then it can be brought back; all verbs say so meanwhile', async () => {
    const made = await world();
    await living(made);
    expect((await destroyDb(made.deps, 'adb', { keepData: false, purge: false })).sentence).toContain('kept until');
    await expect(orderSwitchover(made.deps, 'adb', {})).rejects.toEqual(
      expect.objectContaining({ code: 'not_found', hint: expect.stringContaining('db undestroy adb') }),
    );
    await expect(createDb(made.deps, { name: 'adb' })).rejects.toEqual(code('conflict', /was destroyed/));
    // Until its members are gone it can be seen, then only its data are left.
    expect(await dbView(made.deps, 'adb')).toMatchObject({ status: 'PENDING' });
    await made.store.statuses.update(dbKeys('adb').status, () => ({
      v: 1,
      status: 'PENDING',
      code: 'not_found',
      sentence: 's',
      next: [],
      specIndex: 10 ** 6,
      time: ago(0),
    }));
    await expect(dbView(made.deps, 'adb')).rejects.toEqual(code('not_found', /was destroyed/));
    expect(await listDbs(made.deps)).toEqual([]);
    await undestroyDb(made.deps, 'adb');
    expect(await createDb(made.deps, { name: 'adb' })).toMatchObject({ name: 'adb' });
    await expect(undestroyDb(made.deps, 'adb')).rejects.toEqual(code('conflict'));
  });

  it('for good is for good', async () => {
    const made = await world();
    await living(made);
    await expect(destroyDb(made.deps, 'adb', { keepData: true, purge: true })).rejects.toEqual(code('usage'));
    await destroyDb(made.deps, 'adb', { keepData: true, purge: false });
    expect((await made.store.spec('adb')).value.destroyed).toMatchObject({ keepData: true, purge: false });
    await destroyDb(made.deps, 'adb', { keepData: false, purge: true });
    await expect(undestroyDb(made.deps, 'adb')).rejects.toEqual(code('not_found', /being removed/));
    const said = (await listEvents(made.store.consul, { object: 'db/adb' })).map(({ reason }) => reason);
    expect(said).toEqual(['created', 'destroyed', 'destroyed']);
  });

  it('is refused while another database follows it', async () => {
    const made = await world();
    await living(made);
    await createDb(made.deps, { name: 'other', options: { role: 'single' } });
    await made.store.change('other', (spec) => ({ ...spec, role: 'slave', upstream: { host: 'adb', port: 3306, tls: true, ours: 'adb' } }));
    await expect(destroyDb(made.deps, 'adb', { keepData: false, purge: false })).rejects.toEqual(code('in_use', /other follows adb/));
  });
});
