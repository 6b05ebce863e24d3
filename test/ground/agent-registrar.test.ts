import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Agent } from '#agent/agent.ts';
import type { ServiceHealth } from '#core/consul/client.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import { createTestHost, execIn, type TestHost } from './agent-fixture.ts';

let host: TestHost;
let agent: Agent;
const suffix = process.pid;
const WITHIN = { timeoutMs: 20_000, intervalMs: 5 };

beforeAll(async () => {
  host = await createTestHost();
  agent = await host.start();
  await waitFor(async () => (await host.consul.kv.get(`xcaas/hosts/${host.host.id}/alive`)) && true, WITHIN);
});
afterAll(() => host?.stop());

async function instances(service: string): Promise<ServiceHealth[]> {
  return host.consul.health.service(service);
}
const isPassing = ({ checks }: ServiceHealth) =>
  checks.filter(({ serviceId }) => serviceId !== '').every(({ status }) => status === 'passing');

function expectInstances(service: string, wanted: (found: ServiceHealth[]) => boolean): Promise<ServiceHealth[] | undefined> {
  return waitFor(async () => {
    const found = await instances(service);
    return wanted(found) ? found : undefined;
  }, WITHIN);
}

test('a labelled container is in Consul, passing, at once; and gone at once when it dies', async () => {
  const up: number[] = [];
  const down: number[] = [];
  for (let round = 0; round < 5; round++) {
    const name = `agent-reg-${suffix}-${round}`;
    const service = `web-${suffix}-${round}`;
    const id = await host.run(name, { 'xcaas.service': `${service}:8080`, 'xcaas.service.tags': 'blue', 'xcaas.service.weight': '7' });
    const started = performance.now();
    const found = await expectInstances(service, (all) => all.length === 1);
    up.push(performance.now() - started);
    const inspected = await host.docker.getContainer(id).inspect();
    expect(found?.[0]).toMatchObject({
      service: {
        id: `xcaas:${host.host.id}:${id.slice(0, 12)}:${service}:8080`,
        address: inspected.NetworkSettings.Networks[host.network]!.IPAddress,
        port: 8080,
        tags: ['blue'],
        weights: { passing: 7 },
        meta: { xcaas: '1', host: host.host.id, container: id.slice(0, 12), container_name: name, state: 'up' },
      },
    });
    // Never seen unhealthy: it came passing.
    expect(isPassing(found![0]!)).toBe(true);
    await host.docker.getContainer(id).kill();
    const killed = performance.now();
    expect(await expectInstances(service, (all) => all.length === 0)).toBeDefined();
    down.push(performance.now() - killed);
  }
  const text = (list: number[]) => list.map((ms) => ms.toFixed(0)).join(', ');
  console.log(`docker start returned -> passing in Consul: ${text(up)} ms; docker kill returned -> gone: ${text(down)} ms`);
});

test('with a HEALTHCHECK it starts critical and follows it', async () => {
  const service = `health-${suffix}`;
  const id = await host.run(`agent-health-${suffix}`, { 'xcaas.service': `${service}:80` }, { image: host.healthImage });
  const first = await expectInstances(service, (all) => all.length === 1);
  expect(isPassing(first![0]!)).toBe(false);
  await execIn(host.docker, id, ['touch', '/tmp/healthy']);
  expect(await expectInstances(service, (all) => all.length === 1 && isPassing(all[0]!))).toBeDefined();
  await execIn(host.docker, id, ['rm', '/tmp/healthy']);
  expect(await expectInstances(service, (all) => all.length === 1 && !isPassing(all[0]!))).toBeDefined();
  await host.remove(id);
  expect(await expectInstances(service, (all) => all.length === 0)).toBeDefined();
});

test('Consul killed and started: everything is there again, others’ registrations as they were', async () => {
  const service = `again-${suffix}`;
  await host.run(`agent-again-${suffix}`, { 'xcaas.service': `${service}:80` });
  const foreign = { id: 'foreign', name: `foreign-${suffix}`, address: '10.9.9.9', port: 1, meta: { xcaas: '0' } };
  await host.consul.agent.register(foreign);
  const before = await expectInstances(service, (all) => all.length === 1);
  // Consul also forgets it, as after the loss of its data.
  await host.consul.agent.deregister(before![0]!.service.id);
  await host.testConsul.restart();
  const back = await expectInstances(service, (all) => all.length === 1 && isPassing(all[0]!));
  expect(back).toBeDefined();
  await sleep(9000);
  expect((await host.consul.agent.services()).find(({ id }) => id === 'foreign')).toMatchObject({ address: '10.9.9.9' });
  const alive = await waitFor(async () => (await host.consul.kv.get(`xcaas/hosts/${host.host.id}/alive`))?.session, { timeoutMs: 30_000 });
  expect(alive).toBeDefined();
});

test('the agent away: nothing is deregistered; what changed meanwhile is right after its start', async () => {
  const stays = `stays-${suffix}`;
  const goes = `goes-${suffix}`;
  const comes = `comes-${suffix}`;
  await host.run(`agent-stays-${suffix}`, { 'xcaas.service': `${stays}:80` });
  const going = await host.run(`agent-goes-${suffix}`, { 'xcaas.service': `${goes}:80` });
  await expectInstances(goes, (all) => all.length === 1);
  await agent.close();
  await host.remove(going);
  await host.run(`agent-comes-${suffix}`, { 'xcaas.service': `${comes}:80` });
  await sleep(500);
  expect(await instances(stays)).toHaveLength(1);
  expect(await instances(goes)).toHaveLength(1);
  agent = await host.start();
  expect(await expectInstances(goes, (all) => all.length === 0)).toBeDefined();
  expect(await expectInstances(comes, (all) => all.length === 1 && isPassing(all[0]!))).toBeDefined();
  expect(await instances(stays)).toHaveLength(1);
});

test('a target by name is put on the network, registered, drained, followed when it is created again, and gone with its record', async () => {
  const lb = `lb${suffix}`;
  const name = `agent-target-${suffix}`;
  const service = `xlb-${lb}-app`;
  const key = `xcaas/targets/${lb}/t1`;
  const record = {
    v: 1,
    id: 't1',
    lb,
    group: 'app',
    container: { by: 'name', value: name },
    port: 80,
    weight: 5,
    network: host.network,
    drain: false,
  };
  const first = await host.run(name, {}, { network: 'bridge' });
  await host.consul.kv.put(key, JSON.stringify(record));
  const found = await expectInstances(service, (all) => all.length === 1 && isPassing(all[0]!));
  expect(found?.[0]?.service).toMatchObject({ weights: { passing: 5 }, meta: { target: 't1', state: 'up' } });
  await host.consul.kv.put(key, JSON.stringify({ ...record, drain: true }));
  expect(await expectInstances(service, (all) => all[0]?.service.meta.state === 'draining')).toBeDefined();
  await host.consul.kv.put(key, JSON.stringify(record));
  await host.remove(first);
  expect(await expectInstances(service, (all) => all.length === 0)).toBeDefined();
  const second = await host.run(name, {}, { network: 'bridge' });
  expect(await expectInstances(service, (all) => all[0]?.service.meta.container === second.slice(0, 12))).toBeDefined();
  await host.consul.kv.delete(key);
  expect(await expectInstances(service, (all) => all.length === 0)).toBeDefined();
});

test('drain and stop through the agent; a plain docker stop is seen before the container ends', async () => {
  const service = `drain-${suffix}`;
  const client = host.client();
  const id = await host.run(`agent-drain-${suffix}`, { 'xcaas.service': `${service}:80,${service}-2:81` });
  await expectInstances(service, (all) => all.length === 1);
  expect(await client.drain(id)).toEqual({ registrations: 2 });
  expect((await instances(service))[0]?.service.meta.state).toBe('draining');
  // Kept over a restart of the agent.
  await agent.close();
  agent = await host.start();
  await sleep(1500);
  expect((await instances(service))[0]?.service.meta.state).toBe('draining');
  expect(await client.undrain(id)).toEqual({ registrations: 2 });
  expect((await instances(service))[0]).toMatchObject({ service: { meta: { state: 'up' } } });
  await client.stop(id, 5);
  expect(await expectInstances(service, (all) => all.length === 0)).toBeDefined();
  expect((await host.docker.getContainer(id).inspect()).State.ExitCode).toBe(0);

  const slow = await host.docker.createContainer({
    name: `agent-slow-${suffix}`,
    Image: host.image,
    Cmd: ['sh', '-c', "trap 'sleep 2; exit 0' TERM; sleep infinity & wait"],
    Labels: { 'xcaas.service': `${service}-slow:80` },
    HostConfig: { NetworkMode: host.network },
  });
  try {
    await slow.start();
    await expectInstances(`${service}-slow`, (all) => all.length === 1);
    const stopping = slow.stop({ t: 10 });
    expect(await expectInstances(`${service}-slow`, (all) => all[0]?.service.meta.state === 'draining')).toBeDefined();
    await stopping;
    expect(await expectInstances(`${service}-slow`, (all) => all.length === 0)).toBeDefined();
  } finally {
    await slow.remove({ force: true });
  }
});
