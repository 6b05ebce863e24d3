import { readFile } from 'node:fs/promises';
import https from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGroundDuties } from '#agent/ground-duties.ts';
import { silentLogger } from '#core/log.ts';
import { createGossipKey, readConsulConfig, writeConsulConfig } from '#ground/consul-config.ts';
import { type HostRecord, readHostRecord } from '#ground/host-record.ts';
import { createTestHost, type TestHost } from './agent-fixture.ts';

let host: TestHost;
let manager: https.Server;
const containers = { consul: `agent-ground-consul-${process.pid}`, control: `agent-ground-control-${process.pid}` };

beforeAll(async () => {
  host = await createTestHost();
  await writeConsulConfig(host.paths, { host: host.host, gossipKey: createGossipKey(), servers: ['127.0.0.1'], bootstrap: false });
  manager = https.createServer({ ...host.control, ca: host.ca.cert, requestCert: true, rejectUnauthorized: true }, (_, outgoing) => {
    const promotion = { v: 1, caKey: host.ca.key, poolKey: 'a'.repeat(64), controlToken: 'token', servers: ['127.0.0.1', '127.0.0.2'] };
    outgoing.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(promotion));
  });
  await new Promise<void>((resolve) => manager.listen(host.ports.control, '127.0.0.1', resolve));
});
afterAll(async () => {
  manager?.closeAllConnections();
  manager?.close();
  await host?.stop();
});

function duties(onPromoted: (record: HostRecord) => void = () => undefined) {
  const addresses = { candidates: async () => ['127.0.0.1'] };
  return createGroundDuties({
    docker: host.docker,
    paths: host.paths,
    addresses,
    log: silentLogger(),
    onPromoted,
    controlPort: host.ports.control,
    containers,
  });
}
const proceed = () => undefined;

test('what is missing or is not ours is named before anything is changed', async () => {
  await expect(duties().promote(proceed)).rejects.toMatchObject({ code: 'not_found', message: expect.stringContaining(containers.consul) });
  const foreign = await host.run(containers.consul, {});
  await expect(duties().promote(proceed)).rejects.toMatchObject({ code: 'conflict' });
  expect((await readHostRecord(host.paths.hostFile))?.manager).toBe(false);
  await host.remove(foreign);
});

test('a promoted host has the managers’ secrets, a Consul restarted as a server, and control running; again changes nothing', async () => {
  const labels = { 'com.docker.compose.project': 'xcaas' };
  const consul = await host.run(containers.consul, labels);
  const control = await host.run(containers.control, labels);
  await host.docker.getContainer(control).stop();
  const started = (await host.docker.getContainer(consul).inspect()).State.StartedAt;
  const promoted: HostRecord[] = [];
  expect(await duties((record) => promoted.push(record)).promote(proceed)).toEqual({
    change: true,
    sentence: expect.stringContaining(host.host.name),
  });
  expect(promoted).toMatchObject([{ id: host.host.id, manager: true }]);
  expect(await readHostRecord(host.paths.hostFile)).toMatchObject({ manager: true });
  expect((await readConsulConfig(host.paths))?.servers).toEqual(['127.0.0.2']);
  expect((await readFile(join(host.paths.tokens, 'control'), 'utf8')).trim()).toBe('token');
  expect((await host.docker.getContainer(consul).inspect()).State.StartedAt).not.toBe(started);
  expect((await host.docker.getContainer(control).inspect()).State.Running).toBe(true);
  expect(await duties().promote(proceed)).toMatchObject({ change: false });

  // A promotion that broke off before control was started is finished by the agent itself.
  await host.docker.getContainer(control).stop();
  expect(await duties().startControl()).toBe(true);
  expect(await duties().startControl()).toBe(false);
});
