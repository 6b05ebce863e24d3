import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { hasCode } from '#core/errors.ts';
import { mintMemberToken, revokeMemberToken } from '#ground/acl.ts';
import { reloadConsul } from '#ground/cert-rotation.ts';
import { foundAcl } from '#ground/found-acl.ts';
import type { HostRecord } from '#ground/host-record.ts';
import { initHost } from '#ground/init.ts';
import { takeSnapshot } from '#ground/snapshots.ts';
import { allows, createToken, listTokens, revokeToken, verifyToken } from '#ground/tokens.ts';
import { createGroundHosts, type GroundHost, type GroundHosts } from '#test/ground.ts';

const forbidden = (error: unknown) => hasCode(error, 'forbidden');

/** One host, from nothing, as `./xcaas up` does it. */
describe('the ground of a host', () => {
  let hosts: GroundHosts;
  let first: GroundHost;
  let record: HostRecord;
  let folder: string;
  let profile: string;
  let control: ConsulClient;
  const clients: ConsulClient[] = [];
  const connect = (token?: string) => {
    const client = createConsul({ socketPath: first.paths.consulSocket, ...(token === undefined ? {} : { token }) });
    clients.push(client);
    return client;
  };
  const secret = async (name: string) => (await readFile(join(first.paths.tokens, name), 'utf8')).trim();
  const self = () => ({ name: 'one', address: first.address, group: 'g1', rack: 'r1', labels: { storage: 'ssd' } });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xc-'));
    profile = join(folder, 'deep', 'profile.json');
    hosts = await createGroundHosts();
    first = await hosts.add();
    ({ host: record } = await initHost(first.paths, self()));
    await first.start();
    await foundAcl({ paths: first.paths, profileOut: profile });
    control = connect(await secret('control'));
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await hosts.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('listens on two ports of the host address, and for HTTP on the socket only', async () => {
    // 127.0.10.1 as /proc/net/tcp writes it; 8300 = 206C, 8301 = 206D.
    expect((await hosts.listening()).sort()).toEqual(['010A007F:206C', '010A007F:206D']);
    expect((await stat(first.paths.consulSocket)).mode & 0o777).toBe(0o666);
  });

  it('gives control snapshots, keeps the newest, and gives none to an agent', async () => {
    const token = await secret('control');
    const snapshots = join(folder, 'snapshots');
    for (const hour of [1, 2, 3]) {
      const now = () => new Date(Date.UTC(2026, 0, 1, hour));
      await takeSnapshot({ socketPath: first.paths.consulSocket, token, folder: snapshots, keep: 2, now });
    }
    const files = (await readdir(snapshots)).sort();

    expect(files).toEqual(['consul-20260101T020000Z.snap', 'consul-20260101T030000Z.snap']);
    // Consul's snapshots are gzip.
    expect((await readFile(join(snapshots, files[0] ?? ''))).subarray(0, 2).toString('hex')).toBe('1f8b');
    const agent = { socketPath: first.paths.consulSocket, token: await secret('agent'), folder: snapshots };
    await expect(takeSnapshot(agent)).rejects.toSatisfy(forbidden);
  });

  it('tells nothing to one without a token', async () => {
    const anonymous = connect();
    await control.kv.put('xcaas/secret', 'x');
    expect(await anonymous.kv.get('xcaas/secret').catch((error) => error)).toSatisfy((e) => e === undefined || forbidden(e));
    await expect(anonymous.kv.put('xcaas/a', 'x')).rejects.toSatisfy(forbidden);
    expect((await anonymous.request('GET', '/v1/catalog/nodes')).body).toEqual([]);
    expect((await anonymous.request('GET', '/v1/agent/self')).status).toBe(403);
  });

  it('keeps secrets to the owner', async () => {
    for (const file of [
      'pki/ca.key',
      'pki/host.key',
      'pki/control.key',
      'pool.key',
      'tokens/agent',
      'tokens/control',
      'tokens/bootstrap',
    ]) {
      expect([file, (await stat(join(first.paths.state, file))).mode & 0o777]).toEqual([file, 0o600]);
    }
    for (const dir of ['pki', 'tokens', 'consul/config']) expect((await stat(join(first.paths.state, dir))).mode & 0o777).toBe(0o700);
    expect((await stat(profile)).mode & 0o777).toBe(0o600);
  });

  it('changes nothing when it is done again', async () => {
    const before = await Promise.all([secret('agent'), secret('control'), secret('bootstrap'), readFile(profile, 'utf8')]);
    const again = await initHost(first.paths, self());
    expect(again).toEqual({ host: record, consulChanged: false });
    expect(await foundAcl({ paths: first.paths, profileOut: profile })).toEqual({ host: record, profile: false });
    expect(await Promise.all([secret('agent'), secret('control'), secret('bootstrap'), readFile(profile, 'utf8')])).toEqual(before);
    expect(JSON.parse((await control.kv.get(`xcaas/hosts/${record.id}/spec`))!.value)).toEqual({ ...record, v: 1, drained: false });
  });

  it('does not change its address or name in silence', async () => {
    await expect(initHost(first.paths, { ...self(), address: '10.0.0.9' })).rejects.toThrow(
      /with the address 127\.0\.10\.1, not 10\.0\.0\.9/,
    );
    await expect(initHost(first.paths, { ...self(), name: 'two' })).rejects.toThrow(/is called one in its pool/);
  });

  it('gives the user a profile with a token that works, and a new one only when it does not', async () => {
    const { url, token } = JSON.parse(await readFile(profile, 'utf8'));
    expect(url).toBe('http://127.0.0.1:7400');
    expect(await verifyToken(control, token)).toMatchObject({ name: 'up-one', role: 'admin', expires: null });
    await revokeToken(control, 'up-one');
    expect(await foundAcl({ paths: first.paths, profileOut: profile })).toMatchObject({ profile: true });
    expect(JSON.parse(await readFile(profile, 'utf8')).token).not.toBe(token);
  });

  it('API tokens are verified, expire and are revoked, and their secrets are not kept', async () => {
    const now = new Date('2030-01-01T00:00:00Z');
    const { token, info } = await createToken(control, { name: 'ci', role: 'operate', ttl: 60 }, now);
    expect(await verifyToken(control, token, now)).toEqual(info);
    expect(await verifyToken(control, token, new Date(now.getTime() + 60_000))).toBeUndefined();
    expect(await verifyToken(control, `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, now)).toBeUndefined();
    for (const text of ['', 'x', `xc_${'0'.repeat(16)}_${'a'.repeat(43)}`]) expect(await verifyToken(control, text, now)).toBeUndefined();
    expect((await control.kv.get(`xcaas/tokens/${info.id}`))!.value).not.toContain(token.slice(`xc_${info.id}_`.length));
    expect(await listTokens(control)).toContainEqual(info);
    await revokeToken(control, info.id);
    expect(await verifyToken(control, token, now)).toBeUndefined();
    await expect(revokeToken(control, 'ci')).rejects.toSatisfy((e) => hasCode(e, 'not_found'));
    expect([allows('admin', 'read'), allows('read', 'operate'), allows('operate', 'operate')]).toEqual([true, false, true]);
  });

  it("the agent's token speaks for its own host and cannot raise it", async () => {
    const agent = connect(await secret('agent'));
    await agent.kv.put(`xcaas/hosts/${record.id}/facts`, '{}');
    await agent.kv.put('xcaas/events/1-a', '{}');
    expect((await agent.kv.list('xcaas/hosts/')).length).toBeGreaterThan(0);
    for (const key of [`xcaas/hosts/${record.id}/spec`, 'xcaas/hosts/other/facts', 'xcaas/targets/a/b', 'xcaas/tokens/a', 'other']) {
      await expect(agent.kv.put(key, 'x')).rejects.toSatisfy(forbidden);
    }
    const session = await agent.session.create({ name: 'alive', ttlSeconds: 10, behavior: 'delete' });
    expect(await agent.kv.acquire(`xcaas/hosts/${record.id}/alive`, '{}', session)).toBe(true);
    await agent.agent.register({
      id: 'x',
      name: 'web',
      address: '10.0.0.7',
      port: 80,
      check: { id: 'x', name: 'x', ttlSeconds: 30 },
    });
    await agent.agent.pass('x');
    expect((await agent.health.service('web')).map(({ service }) => service.address)).toEqual(['10.0.0.7']);
    await agent.agent.deregister('x');
    await reloadConsul(agent);
  });

  it("a member's token is limited to its own keys, and ends", async () => {
    const grant = { write: ['xcaas/lb/web/members/web-1'], read: ['xcaas/lb/web/'], node: 'one' };
    const token = await mintMemberToken(control, 'web-1', grant);
    expect(await mintMemberToken(control, 'web-1', grant)).toBe(token);
    const member = connect(token);
    await control.kv.put('xcaas/lb/web/spec', '{}');
    await control.kv.put('xcaas/lb/other/spec', '{}');
    expect((await member.kv.list('xcaas/lb/web/')).map(({ key }) => key)).toContain('xcaas/lb/web/spec');
    for (const key of ['xcaas/lb/web/spec', 'xcaas/lb/web/members/web-10', 'xcaas/lb/other/spec', 'xcaas/control/leader']) {
      await expect(member.kv.put(key, 'x')).rejects.toSatisfy(forbidden);
    }
    expect(await member.kv.get('xcaas/lb/other/spec').catch((error) => error)).toSatisfy((e) => e === undefined || forbidden(e));
    const session = await member.session.create({ name: 'm', ttlSeconds: 1, behavior: 'delete' });
    expect(await member.kv.acquire('xcaas/lb/web/members/web-1', '{}', session)).toBe(true);
    await expect(member.agent.register({ id: 'y', name: 'y', address: '10.0.0.1', port: 1 })).rejects.toSatisfy(forbidden);
    expect((await member.request('GET', '/v1/acl/tokens')).status).toBe(403);
    await revokeMemberToken(control, 'web-1');
    await revokeMemberToken(control, 'web-1');
    expect(await mintMemberToken(control, 'web-1', grant)).not.toBe(token);
  });

  it('serves many watches of one host at once', async () => {
    const watching = connect(await secret('agent'));
    const index = Number((await watching.request('GET', '/v1/kv/xcaas/events/1-a')).headers['x-consul-index']);
    const one = createConsulWithManySockets(first.paths.consulSocket, await secret('agent'), 600, index);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await control.kv.put('xcaas/events/1-a', '{"changed":true}');
    expect(new Set(await one)).toEqual(new Set([200]));
  });

  it('keeps everything when Consul is killed and started again', async () => {
    const { token } = JSON.parse(await readFile(profile, 'utf8'));
    await first.kill();
    await first.start();
    expect(await verifyToken(control, token)).toMatchObject({ role: 'admin' });
    const agent = connect(await secret('agent'));
    const session = await agent.session.create({ name: 'again', ttlSeconds: 1, behavior: 'release' });
    await agent.session.destroy(session);
    expect((await control.request('GET', '/v1/operator/raft/configuration')).body).toMatchObject({
      Servers: [{ Leader: true, Voter: true }],
    });
  });

  it('says how to go on when the management token is lost, and does', async () => {
    const before = await secret('bootstrap');
    await rm(join(first.paths.tokens, 'bootstrap'));
    await rm(join(first.paths.tokens, 'control'));
    await expect(foundAcl({ paths: first.paths })).rejects.toSatisfy(
      (error) => hasCode(error, 'conflict') && /--reset/.test(error.hint ?? ''),
    );
    await foundAcl({ paths: first.paths, reset: true });
    expect(await secret('bootstrap')).not.toBe(before);
  });

  it('never makes a lost key anew in silence', async () => {
    const key = await readFile(first.paths.poolKey);
    await rm(first.paths.poolKey);
    await expect(initHost(first.paths, self())).rejects.toThrow(/pool\.key/);
    await writeFile(first.paths.poolKey, key);
    const caKey = join(first.paths.pki, 'ca.key');
    const ca = await readFile(caKey);
    await rm(caKey);
    await expect(initHost(first.paths, self())).rejects.toThrow(/its key is lost/);
    await writeFile(caKey, ca, { mode: 0o600 });
  });
});

/** Each query waits on a connection of its own, as those of many programs do. */
async function createConsulWithManySockets(socketPath: string, token: string, count: number, index: number): Promise<number[]> {
  const { requestJson } = await import('#core/http.ts');
  const { Agent } = await import('node:http');
  const agent = new Agent({ maxSockets: count });
  const path = `/v1/kv/xcaas/events/1-a?index=${index}&wait=60s`;
  const headers = { 'x-consul-token': token };
  try {
    const one = () => requestJson({ socketPath, method: 'GET', path, headers, timeoutMs: 90_000, agent });
    return (await Promise.all(Array.from({ length: count }, one))).map(({ status }) => status);
  } finally {
    agent.destroy();
  }
}
