import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';

let lab: XcacheLab;
const members: XcacheMember[] = [];
const clients: Redis[] = [];
const whole = () =>
  eventually('all replicas are in sync', async () => {
    const lead = await lab.lead();
    return lead?.state === 'open' && lead.insync.length === members.length - 1;
  });
async function master(): Promise<XcacheMember> {
  const lead = await lab.lead();
  const found = members.find(({ id }) => id === lead?.master.id);
  if (found === undefined) throw new Error('there is no master');
  return found;
}
async function sentinels() {
  return Promise.all(members.map(async (member) => ({ host: await member.address(), port: 26379 })));
}
async function sentinelClient(options = {}): Promise<Redis> {
  const client = new Redis({
    ...{ sentinels: await sentinels(), name: lab.cache, username: lab.spec.user, password: lab.password, retryStrategy: () => 100 },
    ...{ sentinelRetryStrategy: () => 100, ...options },
  });
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}
/** As a person asks. */
async function ask(member: XcacheMember | undefined, ...words: string[]): Promise<string[]> {
  const { stdout } = await lab.exec(member?.container ?? '', 'valkey-cli', '-p', '26379', ...words);
  return stdout.trim().split('\n');
}

beforeAll(async () => {
  lab = await startXcacheLab({ replicas: 2, minReplicas: 1 });
  for (const { id } of lab.spec.members) members.push(await lab.member(id));
  await whole();
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await lab?.stop();
});

describe('members as Sentinels', () => {
  it('answer what valkey-cli asks', async () => {
    const address = await (await master()).address();
    for (const member of members) {
      expect(await ask(member, 'SENTINEL', 'get-master-addr-by-name', lab.cache)).toEqual([address, '6378']);
      expect(await ask(member, 'SENTINEL', 'get-master-addr-by-name', 'another')).toEqual(['']);
      expect(await ask(member, 'SENTINEL', 'masters')).toEqual(
        expect.arrayContaining(['name', lab.cache, 'ip', address, 'num-slaves', '2']),
      );
      // By its flags and by what it reports: once each member has heard that it follows.
      await eventually('both replicas are seen to be well', async () => {
        const said = await ask(member, 'SENTINEL', 'replicas', lab.cache);
        return said.filter((line) => line === 'slave').length === 4 || said.join(' ');
      });
      expect((await ask(member, 'SENTINEL', 'sentinels', lab.cache)).filter((line) => line === 'sentinel')).toHaveLength(2);
      expect(await ask(member, 'SENTINEL', 'sentinels', 'another')).toEqual(['ERR No such master with that name']);
      expect(await ask(member, 'PING')).toEqual(['PONG']);
      expect(
        (await ask(member, 'INFO')).some((line) => line.startsWith(`master0:name=${lab.cache},status=ok,address=${address}:6378`)),
      ).toBe(true);
    }
  });

  it('lead ioredis to the master and to replicas, in either protocol', async () => {
    for (const protocol of [2, 3] as const) {
      const client = await sentinelClient({ protocol });
      expect(await client.set(`by:${protocol}`, 'sentinel')).toBe('OK');
      expect(await client.role()).toEqual(expect.arrayContaining(['master']));
      const reader = await sentinelClient({ protocol, role: 'slave' });
      expect(await reader.role()).toEqual(expect.arrayContaining(['slave']));
      await eventually('the replica has it', async () => (await reader.get(`by:${protocol}`)) === 'sentinel');
    }
  });

  it('tell subscribers of a new master, and a client follows by itself', async () => {
    const before = await master();
    const oldAddress = await before.address();
    const client = await sentinelClient({ failoverDetector: true });
    expect(await client.set('before', '1')).toBe('OK');
    const other = members.find((member) => member !== before);
    const subscriber = new Redis({ host: (await other?.address()) ?? '', port: 26379, protocol: 2 });
    clients.push(subscriber);
    const told = new Promise<string>((resolve) => subscriber.on('message', (_channel, text: string) => resolve(text)));
    await subscriber.subscribe('+switch-master');
    expect(await lab.switchover()).toMatchObject({ state: 'done' });
    const newAddress = await (await master()).address();
    expect(newAddress).not.toBe(oldAddress);
    expect(await told).toBe(`${lab.cache} ${oldAddress} 6378 ${newAddress} 6378`);
    await eventually('the client writes at the new master', async () => (await client.set('after', '1')) === 'OK');
    expect(await client.get('before')).toBe('1');
    await whole();
  });
});

describe('three members', () => {
  it('the most complete replica takes over a frozen master, the other follows it, and all of them are there again', async () => {
    const before = await lab.lead();
    const old = await master();
    const client = await sentinelClient({ failoverDetector: true, commandTimeout: 1000, sentinelCommandTimeout: 500 });
    await client.set('kept', 'yes');
    await old.pause();
    const began = performance.now();
    await eventually('a write is taken', async () => (await client.set('while', 'away')) === 'OK', 30_000);
    console.log(`docker pause of the master of three: first write by Sentinel client after ${Math.round(performance.now() - began)} ms`);
    expect(await client.get('kept')).toBe('yes');
    const lead = await lab.lead();
    expect(lead?.epoch).toBe((before?.epoch ?? 0) + 1);
    expect(lead?.master.id).not.toBe(old.id);
    await old.unpause();
    await whole();
    expect(await old.cli('GET', 'while')).toBe('away');
  });

  it('go on without Consul, and fail over as soon as it is back', async () => {
    await whole();
    const client = await (await master()).client();
    clients.push(client);
    await lab.server.pause();
    try {
      const end = performance.now() + 6000;
      let writes = 0;
      while (performance.now() < end) {
        await client.set('without', 'consul');
        writes += 1;
      }
      expect(writes).toBeGreaterThan(100);
      const old = await master().catch(() => undefined);
      expect(old).toBeUndefined();
    } finally {
      await lab.server.unpause();
    }
    await whole();
  });

  it('a killed sidecar is started again beside its engine, and nobody fails over', async () => {
    const before = await lab.lead();
    const now = await master();
    const run = await now.cli('INFO', 'server');
    await now.signal('node', 'KILL');
    await eventually('it speaks again', async () => (await now.status()).state === 'running');
    expect((await lab.lead())?.epoch).toBe(before?.epoch);
    expect(/run_id:\w+/.exec(await now.cli('INFO', 'server'))?.[0]).toBe(/run_id:\w+/.exec(run)?.[0]);
  });

  it('all killed at once come back by themselves, with other addresses', async () => {
    const before = await lab.lead();
    await Promise.all(members.map((member) => member.kill()));
    // In another order, so that addresses are dealt anew.
    for (const member of members.toReversed()) await member.start();
    const began = performance.now();
    await eventually('there is a master again', async () => (await lab.lead())?.epoch !== before?.epoch);
    await whole();
    console.log(`three members killed at once: whole after ${Math.round(performance.now() - began)} ms`);
    const client = await (await master()).client();
    clients.push(client);
    await eventually('writes are taken', async () => (await client.set('again', '1')) === 'OK');
  });
});
