import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { type AppError, hasCode } from '#core/errors.ts';
import { requestJson } from '#core/http.ts';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { removeConsulNode } from '#ground/acl.ts';
import { createCa, fingerprint, issuePair, type KeyPair } from '#ground/ca.ts';
import { renewCertificate, renewRoutes, tlsMaterial } from '#ground/cert-rotation.ts';
import { readConsulConfig, rememberServers, writeConsulConfig } from '#ground/consul-config.ts';
import { foundAcl } from '#ground/found-acl.ts';
import { hostSpecKey, readHostRecord } from '#ground/host-record.ts';
import { initHost } from '#ground/init.ts';
import { createJoinToken, decodeJoinToken, encodeJoinToken, redeemJoin } from '#ground/join.ts';
import { joinPool } from '#ground/join-client.ts';
import { type JoinRouteDeps, joinRoutes } from '#ground/join-routes.ts';
import { applyPromotion, fetchPromotion, promotionRoutes } from '#ground/promote.ts';
import { createGroundHosts, type GroundHost, type GroundHosts } from '#test/ground.ts';

const code = (wanted: Parameters<typeof hasCode>[1]) => (error: unknown) => hasCode(error, wanted);

/** A pool of three hosts, each with a real Consul, grown from one by join and promotion. */
describe('a pool', () => {
  let hosts: GroundHosts;
  let all: GroundHost[];
  let app: FastifyInstance;
  let port: number;
  let deps: JoinRouteDeps;
  let ca: KeyPair;
  let consul: ConsulClient;
  let now = () => new Date();
  const log = silentLogger();
  const read = async (host: GroundHost, ...path: string[]) => (await readFile(join(host.paths.state, ...path), 'utf8')).trim();
  const token = async () => (await createJoinToken(consul, { addresses: ['127.0.0.1'], ca: ca.cert }, now())).token;
  const describeHost = (number: number) => ({
    name: `host-${number}`,
    address: all[number]!.address,
    group: `g${number}`,
    rack: 'r1',
    labels: {},
  });
  const enter = (number: number, joinToken: string) =>
    joinPool({ paths: all[number]!.paths, token: joinToken, host: describeHost(number), port });
  const servers = async () => {
    const { body } = await consul.request('GET', '/v1/operator/raft/configuration');
    return (body as { Servers: { Address: string; Voter: boolean }[] }).Servers;
  };
  /** While servers come and go a leader may be missing for longer than a question waits for it. */
  const serversOnce = async (fits: (found: { Voter: boolean }[]) => boolean) => {
    const found = await waitFor(
      async () => {
        const seen = await servers().catch(() => undefined);
        return seen !== undefined && fits(seen) ? seen : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 500 },
    );
    return (found ?? []).map(({ Address }) => Address.replace(/:8300$/, '')).sort();
  };
  const addresses = () => all.map(({ address }) => address).sort();

  beforeAll(async () => {
    hosts = await createGroundHosts();
    all = [await hosts.add(), await hosts.add(), await hosts.add()];
    const [first] = all as [GroundHost, GroundHost, GroundHost];
    await initHost(first.paths, describeHost(0));
    await first.start();
    await foundAcl({ paths: first.paths });
    consul = createConsul({ socketPath: first.paths.consulSocket, token: await read(first, 'tokens', 'control') });
    ca = { cert: await readFile(join(first.paths.pki, 'ca.pem'), 'utf8'), key: await readFile(join(first.paths.pki, 'ca.key'), 'utf8') };
    const { gossipKey } = (await readConsulConfig(first.paths))!;
    deps = {
      consul,
      ca,
      gossipKey,
      log,
      now: () => now(),
      swarm: async () => ({ token: 'SWMTKN-1-x', manager: `${first.address}:2377` }),
      images: {
        list: async () => [{ id: `sha256:${'a'.repeat(64)}`, tags: ['xcaas/control:1'], sizeBytes: 3 }],
        save: () => Readable.from([Buffer.from('tar')]),
      },
    };
    const material = await tlsMaterial(first.paths, 'control');
    app = Fastify({ https: { ...material.current(), requestCert: true, rejectUnauthorized: false } });
    app.register(joinRoutes, deps);
    app.register(renewRoutes, deps);
    app.register(promotionRoutes, { consul, ca, poolKey: await read(first, 'pool.key'), log });
    await app.listen({ host: '127.0.0.1', port: 0 });
    ({ port } = app.server.address() as { port: number });
  });
  afterAll(async () => {
    await app?.close();
    consul?.close();
    await hosts?.stop();
  });

  it('refuses a token for another pool, and one that is none', async () => {
    const foreign = encodeJoinToken({ ...decodeJoinToken(await token()), ca: fingerprint((await createCa('x')).cert) });
    await expect(enter(1, foreign)).rejects.toSatisfy(code('forbidden'));
    const unknown = encodeJoinToken({ ...decodeJoinToken(await token()), secret: 'a'.repeat(43) });
    await expect(enter(1, unknown)).rejects.toSatisfy(code('unauthenticated'));
    await expect(enter(1, 'nonsense')).rejects.toSatisfy(code('usage'));
    await rm(all[1]!.paths.state, { recursive: true, force: true });
  });

  it('refuses an expired token and says how to get another', async () => {
    const old = await token();
    now = () => new Date(Date.now() + 3_600_001);
    await expect(enter(1, old)).rejects.toSatisfy((e) => code('token_expired')(e) && /xcaas join-token/.test((e as AppError).hint ?? ''));
    now = () => new Date();
  });

  it('refuses a name or address it has, and does not use up the token for it', async () => {
    const good = await token();
    const host = { ...describeHost(1), name: 'host-0' };
    await expect(joinPool({ paths: all[1]!.paths, token: good, host, port })).rejects.toSatisfy(code('conflict'));
    expect(await enter(1, good)).toMatchObject({ host: { name: 'host-1', manager: false }, swarm: { token: 'SWMTKN-1-x' } });
  });

  it('lets a join be repeated by its host, and by no other', async () => {
    const once = await token();
    const { host } = await enter(1, once);
    const before = await read(all[1]!, 'tokens', 'agent');
    expect((await enter(1, once)).host).toEqual(host);
    expect(await read(all[1]!, 'tokens', 'agent')).toBe(before);
    await expect(enter(2, once)).rejects.toSatisfy((e) => code('token_used')(e) && /host host-1 at 20/.test((e as Error).message));
    await expect(joinPool({ paths: all[1]!.paths, token: once, host: { ...describeHost(1), rack: 'other' }, port })).rejects.toSatisfy(
      code('token_used'),
    );
  });

  it('takes exactly one of many that use a token at the same time', async () => {
    const { secret } = decodeJoinToken(await token());
    const { publicKey } = await keyOf();
    const attempts = Array.from({ length: 8 }, (_, i) =>
      redeemJoin(deps, {
        v: 1,
        secret,
        publicKey,
        host: {
          id: `0000000${i}-0000-4000-8000-000000000000`,
          name: `racer-${i}`,
          address: `10.9.9.${i + 1}`,
          group: 'g',
          rack: 'r',
          labels: {},
        },
      }),
    );
    const results = await Promise.allSettled(attempts);
    const won = results.filter((result) => result.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toSatisfy(code('token_used'));
    const racers = (await consul.kv.list('xcaas/hosts/')).filter(({ value }) => value.includes('racer-'));
    expect(racers).toHaveLength(1);
    await consul.kv.delete(racers[0]!.key);
  });

  it('gives images to the holder of a token only', async () => {
    const joinToken = await token();
    const get = (path: string, authorization?: string) =>
      requestJson({
        ...{ host: '127.0.0.1', port, tls: { ca: ca.cert }, method: 'GET', path, timeoutMs: 5000 },
        ...(authorization === undefined ? {} : { headers: { authorization } }),
      });
    expect(await get('/join/ca')).toMatchObject({ status: 200, body: ca.cert });
    expect(fingerprint((await get('/join/ca')).body as string)).toBe(decodeJoinToken(joinToken).ca);
    expect((await get('/join/images')).status).toBe(401);
    for (const word of [joinToken, decodeJoinToken(joinToken).secret]) {
      expect(await get('/join/images', `Bearer ${word}`)).toMatchObject({ status: 200, body: [{ tags: ['xcaas/control:1'] }] });
    }
    expect(await get(`/join/images/sha256:${'a'.repeat(64)}`, `Bearer ${joinToken}`)).toMatchObject({ status: 200, body: 'tar' });
    expect((await get('/join/images/other', `Bearer ${joinToken}`)).status).toBe(404);
    // None of this used it up.
    expect(await enter(2, joinToken)).toMatchObject({ host: { name: 'host-2' } });
  });

  it('has the Consul of a host that joined: gossip, TLS, tokens and all', async () => {
    await all[1]!.start();
    await all[2]!.start();
    for (const [i, host] of all.entries()) {
      const agent = createConsul({ socketPath: host.paths.consulSocket, token: await read(host, 'tokens', 'agent') });
      const id = (await readHostRecord(host.paths.hostFile))!.id;
      const session = await waitFor(
        () => agent.session.create({ name: 'alive', ttlSeconds: 10, behavior: 'delete' }).catch(() => undefined),
        { timeoutMs: 30_000 },
      );
      expect([i, await agent.kv.acquire(`xcaas/hosts/${id}/alive`, '{}', session!)]).toEqual([i, true]);
      agent.close();
    }
    const { body } = await consul.request('GET', '/v1/catalog/nodes');
    expect((body as { Node: string }[]).map(({ Node }) => Node).sort()).toEqual(['host-0', 'host-1', 'host-2']);
    for (const file of ['pki/host.key', 'tokens/agent', 'consul/config/xcaas.json']) {
      expect((await stat(join(all[1]!.paths.state, file))).mode & 0o777).toBe(0o600);
    }
  });

  it('renews a certificate while everything runs, by the role and records of the caller', async () => {
    const host = all[1]!;
    const material = await tlsMaterial(host.paths, 'agent');
    const before = material.current();
    const agent = createConsul({ socketPath: host.paths.consulSocket, token: await read(host, 'tokens', 'agent') });
    expect(await renewCertificate({ paths: host.paths, controls: ['127.0.0.1'], consul: agent, port })).toBe(false);
    // The first address is a host that is down.
    expect(await renewCertificate({ paths: host.paths, controls: ['127.0.0.2', '127.0.0.1'], consul: agent, force: true, port })).toBe(
      true,
    );
    expect(await material.refresh()).toBe(true);
    expect(material.current().cert).not.toBe(before.cert);
    expect(material.current().key).toBe(before.key);
    material.stop();
    expect((await agent.kv.get('xcaas/joins/none').catch((e) => e)) ?? 'answered').toBe('answered');
    agent.close();

    const post = (tls: Partial<KeyPair>) =>
      requestJson({
        host: '127.0.0.1',
        port,
        tls: { ca: ca.cert, ...tls },
        method: 'POST',
        path: '/ground/renew',
        body: {},
        timeoutMs: 5000,
      });
    expect((await post({})).status).toBe(403);
    const removed = await issuePair({ ca, cn: '11111111-1111-4111-8111-111111111111', role: 'agent', addresses: [] });
    expect(await post(removed)).toMatchObject({ status: 403, body: { error: { hint: expect.stringContaining('join-token') } } });
  });

  it('does not let a host become a server by its own word', async () => {
    const host = all[2]!;
    const written = (await readConsulConfig(host.paths))!;
    const record = (await readHostRecord(host.paths.hostFile))!;
    await writeConsulConfig(host.paths, { ...written, host: { ...record, manager: true } });
    await host.kill();
    await host.start({ waitForLeader: false });
    // Longer than a server that may be one takes to become a voter (server_stabilization_time, and a round of autopilot).
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    expect((await servers()).filter(({ Voter }) => Voter)).toHaveLength(1);
    await consul.kv.put('xcaas/marker', 'still writes');
    await host.kill();
    await rm(host.paths.consulData, { recursive: true, force: true });
    await writeConsulConfig(host.paths, { ...written, host: record });
    await host.start();
  });

  it('makes managers of those it decided on, and of no others', async () => {
    await expect(fetchPromotion(all[1]!.paths, ['127.0.0.1'], port)).rejects.toSatisfy(code('forbidden'));
    for (const host of all.slice(1)) {
      const { id } = (await readHostRecord(host.paths.hostFile))!;
      const entry = (await consul.kv.get(hostSpecKey(id)))!;
      await consul.kv.cas(entry.key, JSON.stringify({ ...JSON.parse(entry.value), manager: true }), entry.modifyIndex);
    }
    for (const host of all.slice(1)) {
      const promotion = await fetchPromotion(host.paths, ['127.0.0.1'], port);
      expect((await applyPromotion(host.paths, promotion)).change).toBe(true);
      expect((await applyPromotion(host.paths, promotion)).change).toBe(false);
      expect((await readHostRecord(host.paths.hostFile))!.manager).toBe(true);
      await host.terminate();
      await host.start();
      await tlsMaterial(host.paths, 'control').then((material) => material.stop());
      expect((await initHost(host.paths, describeHost(all.indexOf(host)))).consulChanged).toBe(false);
      await foundAcl({ paths: host.paths });
    }
    await rememberServers(all[0]!.paths, (await readHostRecord(all[0]!.paths.hostFile))!, addresses());
    expect(await serversOnce((found) => found.filter(({ Voter }) => Voter).length === 3)).toEqual(addresses());
  });

  it('heals when all hosts lose power and come back in any order', async () => {
    await consul.kv.put('xcaas/marker', 'kept');
    for (const order of [
      [2, 0, 1],
      [1, 2, 0],
    ]) {
      for (const [i, host] of all.entries()) await (i === 1 ? host.terminate() : host.kill());
      for (const [turn, i] of order.entries()) await all[i]!.start({ waitForLeader: turn > 0 });
      for (const host of all) {
        const control = createConsul({ socketPath: host.paths.consulSocket, token: await read(host, 'tokens', 'control') });
        const value = await waitFor(async () => (await control.kv.get('xcaas/marker').catch(() => undefined))?.value, {
          timeoutMs: 60_000,
        });
        control.close();
        expect(value).toBe('kept');
      }
      expect(await serversOnce(() => true)).toEqual(addresses());
    }
  });

  it('forgets a server that is removed, and only then', async () => {
    await all[2]!.kill();
    await removeConsulNode(consul, 'host-2');
    await removeConsulNode(consul, 'never-there');
    expect(await serversOnce((found) => found.length === 2)).toEqual(addresses().filter((address) => address !== all[2]!.address));
  });

  async function keyOf(): Promise<{ publicKey: string }> {
    const { createKey, publicKeyOf } = await import('#ground/ca.ts');
    return { publicKey: publicKeyOf(await createKey()) };
  }
});
