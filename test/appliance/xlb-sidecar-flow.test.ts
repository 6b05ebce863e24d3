import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import type { TestConsul } from '#test/consul.ts';
import type { LbSpec } from '#xlb/schema.ts';
import {
  type Backend,
  eventually,
  type Member,
  memberToken,
  pidOf,
  register,
  startBackend,
  startLabConsul,
  startMember,
  webSpec,
} from './xlb-sidecar-lab.ts';

const lb = 'shop';
let server: TestConsul;
let consul: ConsulClient;
let member: Member;
let backends: Backend[];

async function put(spec: LbSpec): Promise<number> {
  await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(spec));
  return (await consul.kv.get(`xcaas/lb/${lb}/spec`))?.modifyIndex ?? 0;
}

async function applied(index: number): Promise<void> {
  await eventually(
    'the specification is applied',
    async () => (await member.status()).specIndex === index || (await member.status()).sentence,
  );
}

beforeAll(async () => {
  ({ server, client: consul } = await startLabConsul());
  backends = [await startBackend('a'), await startBackend('b'), await startBackend('c')];
  for (const backend of backends.slice(0, 2)) await register(consul, 'web', backend);
  const index = await put(webSpec(lb));
  member = await startMember({ lb, consulFolder: dirname(server.socketPath), token: await memberToken(consul, lb, `${lb}-1`) });
  await applied(index);
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.log(await member.logs());
});

afterAll(async () => {
  await member?.stop();
  for (const backend of backends ?? []) await backend.close();
  consul?.close();
  await server?.stop();
});

describe('a member of a load balancer', () => {
  it('serves the instances of a Consul service in turn', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => member.get()));
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200));
    expect(new Set(answers.map((answer) => answer.text))).toEqual(new Set(['a', 'b']));
  });

  it('says in one sentence, its record and its peers what it does', async () => {
    const status = await member.status();
    expect(status).toMatchObject({ v: 1, member: 'shop-1', node: 'here', consulReachable: true, engineUp: true });
    expect(status.generation).toBe(status.wantedGeneration);
    expect(status.sentence).toBe(`shop-1 serves 1 group with 2 of 2 peers up, generation ${status.generation}`);
    await eventually('the record is the status', async () => {
      const record = await consul.kv.get(`xcaas/lb/${lb}/members/${lb}-1`);
      return record?.session !== undefined && isDeepStrictEqual(JSON.parse(record.value), await member.status());
    });
    const peers = await member.peers();
    expect(peers.workers.length).toBeGreaterThan(0);
    for (const worker of peers.workers) expect(worker.groups.default?.peers.map((peer) => peer.container)).toEqual(['a', 'b']);
  });

  it('brings a registered instance and takes a deregistered one out, without a reload', async () => {
    const { generation } = await member.status();
    await register(consul, 'web', backends[2]!);
    await eventually('c is served', async () => (await member.get()).text === 'c');
    await consul.agent.deregister('web-c');
    await eventually('c is gone', async () => (await member.peers()).workers.every((worker) => worker.groups.default?.peers.length === 2));
    const before = backends[2]!.requests;
    for (let i = 0; i < 10; i++) expect((await member.get()).text).not.toBe('c');
    expect(backends[2]!.requests).toBe(before);
    expect((await member.status()).generation).toBe(generation);
  });

  it('drains an instance that is in maintenance or marked, and leaves one out that is critical', async () => {
    const stateOf = async (id: string) =>
      (await member.peers()).workers.map((worker) => worker.groups.default?.peers.find((peer) => peer.id === id)?.state);
    await consul.request('PUT', '/v1/agent/service/maintenance/web-a', { query: { enable: 'true' } });
    await eventually('a drains', async () => (await stateOf('web-a')).every((state) => state === 'draining'));
    expect((await member.get()).text).toBe('b');
    await consul.request('PUT', '/v1/agent/service/maintenance/web-a', { query: { enable: 'false' } });
    await eventually('a is back', async () => (await stateOf('web-a')).every((state) => state === 'up'));
    await consul.agent.fail('web-b-check', 'on fire');
    await eventually('b is down', async () => (await stateOf('web-b')).every((state) => state === 'down'));
    for (let i = 0; i < 4; i++) expect((await member.get()).text).toBe('a');
    await consul.agent.pass('web-b-check');
    await eventually('b is back', async () => (await stateOf('web-b')).every((state) => state === 'up'));
  });

  it('gives requests to the group of their host and path', async () => {
    await register(consul, 'api', backends[2]!);
    const rules = [
      { listen: '*', group: 'default' },
      { listen: '*', host: 'api.example', group: 'api' },
      { listen: 'http:80', path: '/v2', group: 'api' },
    ];
    const groups = [
      { name: 'default', services: ['web'] },
      { name: 'api', services: ['api'] },
    ];
    await applied(await put(webSpec(lb, { rules, groups })));
    expect((await member.get('/', { host: 'api.example' })).text).toBe('c');
    expect((await member.get('/v2/things')).text).toBe('c');
    expect((await member.get('/v1')).text).not.toBe('c');
  });

  it('keeps the old structure when the new one is refused, and says so', async () => {
    const { generation } = await member.status();
    // nginx finds out only when it reloads: its own test of a file does not mind a port that is taken.
    const hold = member.exec(
      'node',
      '-e',
      "require('net').createServer().listen(8088, '0.0.0.0'); setTimeout(() => process.exit(), 60000)",
    );
    await eventually(
      'the port is taken',
      async () =>
        (await member.exec('node', '-e', "require('net').connect(8088).on('connect',()=>process.exit(0)).on('error',()=>process.exit(1))"))
          .code === 0,
    );
    const present = webSpec(lb, JSON.parse((await consul.kv.get(`xcaas/lb/${lb}/spec`))?.value ?? '{}'));
    await put({ ...present, listeners: [...present.listeners, { proto: 'http', port: 8088 }] });
    await eventually('the structure is refused', async () => (await member.status()).rejected !== undefined, 40_000);
    const status = await member.status();
    expect(status.generation).toBe(generation);
    expect(status.wantedGeneration).not.toBe(generation);
    expect(status.sentence).toContain('what was asked for is refused');
    expect((await member.get()).status).toBe(200);
    await member.exec('sh', '-c', `kill ${await pidOf(member.container, '^node.*8088')}`);
    await hold;
    expect((await member.admin('POST', '/reload-check')).body).toMatchObject({ generation: status.wantedGeneration });
    expect((await member.get('/', { port: 8088 })).status).toBe(200);
    await applied(await put(present));
    expect((await member.status()).rejected).toBeUndefined();
  });

  it('refuses a specification that is none, and keeps the one before it', async () => {
    const before = await consul.kv.get(`xcaas/lb/${lb}/spec`);
    const bad = { ...JSON.parse(before?.value ?? '{}'), rules: [{ listen: '*', path: '/a; return 200 pwned', group: 'default' }] };
    await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(bad));
    await eventually('it is refused', async () => (await member.status()).rejected?.includes('does not fit its schema'));
    expect((await member.get()).status).toBe(200);
    await consul.kv.put(`xcaas/lb/${lb}/spec`, before?.value ?? '');
    await eventually('it is followed again', async () => (await member.status()).rejected === undefined);
  });
});
