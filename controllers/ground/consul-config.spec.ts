import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostPaths } from '#core/paths.ts';
import { createGossipKey, readConsulConfig, rememberServers, renderConsulConfig, writeConsulConfig } from '#ground/consul-config.ts';

const host = {
  id: '5f0c3b46-9d0c-4b11-9f39-0d5a4b0f2a11',
  name: 'a',
  address: '10.0.0.1',
  manager: true,
  group: 'g',
  rack: 'r',
  labels: {},
};
const gossipKey = createGossipKey();

describe('the configuration of Consul', () => {
  const render = (change: object = {}) =>
    renderConsulConfig({ host, paths: hostPaths(), gossipKey, servers: ['10.0.0.2', '10.0.0.1'], bootstrap: false, ...change }) as Record<
      string,
      never
    >;

  it('listens for HTTP on the unix socket only, and for nothing that is not used', () => {
    const { addresses, ports } = render();
    expect(addresses).toEqual({ http: 'unix:///run/xcaas/consul/http.sock' });
    expect(ports).toMatchObject({ dns: -1, grpc: -1, https: -1, serf_wan: -1 });
    expect(ports).not.toHaveProperty('grpc_tls');
    expect(render({ modern: true }).ports).toMatchObject({ grpc_tls: -1 });
  });

  it('expects a first election only while the pool is founded', () => {
    expect(render()).not.toHaveProperty('bootstrap_expect');
    expect(render({ bootstrap: true })).toMatchObject({ server: true, bootstrap_expect: 1 });
    const client = render({ host: { ...host, manager: false }, bootstrap: true });
    expect(client).toMatchObject({ server: false });
    expect(client).not.toHaveProperty('bootstrap_expect');
    expect(client).not.toHaveProperty('autopilot');
  });

  it('joins the other servers, never itself', () => {
    expect(render().retry_join).toEqual(['10.0.0.2']);
    expect(render({ servers: ['fd00::2'] }).retry_join).toEqual(['[fd00::2]']);
  });
});

describe('the configuration on disk', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'xc-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('is secret, is written only when it changes, and remembers keys when the servers change', async () => {
    const paths = hostPaths(root);
    const input = { host, gossipKey, servers: ['10.0.0.2', 'fd00::3'], bootstrap: true, agentToken: 't' };
    expect(await rememberServers(paths, host, ['10.0.0.2'])).toBe(false);
    expect(await writeConsulConfig(paths, input)).toBe(true);
    expect(await writeConsulConfig(paths, input)).toBe(false);
    expect((await stat(join(paths.consulConfig, 'xcaas.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(paths.consulConfig)).mode & 0o777).toBe(0o700);
    expect(await readConsulConfig(paths)).toEqual({
      gossipKey,
      servers: ['10.0.0.2', 'fd00::3'],
      bootstrap: true,
      agentToken: 't',
      modern: false,
    });
    expect(await rememberServers(paths, host, ['10.0.0.9', '10.0.0.1'])).toBe(true);
    expect(await readConsulConfig(paths)).toEqual({ gossipKey, servers: ['10.0.0.9'], bootstrap: true, agentToken: 't', modern: false });
  });
});
