import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';

let lab: XcacheLab;
const members = new Map<string, XcacheMember>();
const clients: Redis[] = [];
const byId = (id: string) => {
  const member = members.get(id);
  if (member === undefined) throw new Error(`there is no ${id}`);
  return member;
};

/** Master and replica, as the record says; undefined while there is no open pair. */
async function pair() {
  const lead = await lab.lead();
  const replica = lead?.insync[0];
  if (lead?.state !== 'open' || replica === undefined) return undefined;
  return { master: byId(lead.master.id), replica: byId(replica.id), epoch: lead.epoch };
}
async function whole() {
  await eventually('master and replica are in sync', async () => (await pair()) !== undefined);
  const found = await pair();
  if (found === undefined) throw new Error('no pair');
  return found;
}
async function clientOf(member: XcacheMember, options = {}) {
  const client = await member.client(options);
  clients.push(client);
  return client;
}
/** One command on a connection of its own, refused rather than waited for. */
async function once(member: XcacheMember, port: number, command: string, ...args: string[]) {
  const client = await member.client({
    port,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    commandTimeout: 1000,
    connectTimeout: 1000,
  });
  try {
    return await client.call(command, ...args);
  } finally {
    client.disconnect();
  }
}

/** Writes one value after another and keeps count. @param thinkMs between an answer and the next write */
function startWriter(client: Redis, thinkMs = 0) {
  let taken = 0;
  let stop = false;
  const failures: string[] = [];
  const writing = (async () => {
    while (!stop) {
      try {
        await client.set(`w:${taken}`, String(taken));
        taken += 1;
      } catch (error) {
        failures.push(String(error));
      }
      if (thinkMs > 0) await new Promise((resolve) => setTimeout(resolve, thinkMs));
    }
  })();
  return {
    async stop() {
      stop = true;
      await writing;
      return { taken, failures };
    },
  };
}

beforeAll(async () => {
  lab = await startXcacheLab();
  for (const { id } of lab.spec.members) members.set(id, await lab.member(id));
  await whole();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});
afterAll(() => lab?.stop());

describe('a replicated cache', () => {
  it('is written to and read from by either member, on the port that says what is wanted', async () => {
    const { master, replica } = await whole();
    expect(await once(replica, 6379, 'SET', 'greeting', 'hello')).toBe('OK');
    await eventually('the replica has it', async () => (await once(master, 6380, 'GET', 'greeting')) === 'hello');
    // Until a replica is known to be in sync, whoever asks for one gets the master.
    await eventually('reads go to the replica', async () => ((await once(master, 6380, 'ROLE')) as string[])[0] === 'slave');
    await expect(once(replica, 6378, 'SET', 'greeting', 'no')).rejects.toThrow('READONLY');
    expect(await master.status()).toMatchObject({ role: 'master', state: 'running' });
    expect(await replica.status()).toMatchObject({ role: 'replica', state: 'running' });
  });

  it('asks for the password, and lets nobody touch the engine itself', async () => {
    const { master } = await whole();
    const host = await master.address();
    const anonymous = new Redis({
      host,
      port: 6379,
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
    });
    anonymous.on('error', () => undefined);
    clients.push(anonymous);
    await expect(anonymous.get('greeting')).rejects.toThrow('NOAUTH');
    await expect(once(master, 6379, 'CONFIG', 'SET', 'min-replicas-to-write', '0')).rejects.toThrow('NOPERM');
    await expect(once(master, 6379, 'REPLICAOF', 'NO', 'ONE')).rejects.toThrow('NOPERM');
    // A client that knows a password only is the same user.
    const plain = new Redis({ host, port: 6379, password: lab.password });
    clients.push(plain);
    expect(await plain.get('greeting')).toBe('hello');
  });

  it('a change by order loses no command of a client with its default retries, and nothing that was taken', async () => {
    const before = await whole();
    const client = await clientOf(before.replica);
    const writer = startWriter(client);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const order = await lab.switchover();
    expect(order).toMatchObject({ state: 'done', target: before.replica.id });
    const after = await whole();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { taken, failures } = await writer.stop();
    expect(failures).toEqual([]);
    expect(after).toMatchObject({ master: { id: before.replica.id }, epoch: before.epoch + 1 });
    const present = await client.exists(...Array.from({ length: taken }, (_, index) => `w:${index}`));
    expect([present, taken > 100]).toEqual([taken, true]);
  });

  it('neither do changes by order to clients that come by Sentinel, whenever they come', async () => {
    const sentinels = await Promise.all([...members.values()].map(async (member) => ({ host: await member.address(), port: 26_379 })));
    const account = { sentinelUsername: lab.spec.user, sentinelPassword: lab.password };
    const writers = await Promise.all(
      [0, 1, 2, 5].map(async (thinkMs) =>
        startWriter(await clientOf(byId('acache-1'), { sentinels, name: lab.cache, ...account }), thinkMs),
      ),
    );
    for (let turn = 0; turn < 4; turn += 1) {
      await whole();
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect(await lab.switchover()).toMatchObject({ state: 'done' });
    }
    await whole();
    for (const writer of writers) expect((await writer.stop()).failures).toEqual([]);
  });

  it('a change by order waits for an endpoint that still leads to the old master: its clients would be told that it takes no writes', async () => {
    const { master, replica, epoch } = await whole();
    const writers = await Promise.all([master, replica].map(async (member) => startWriter(await clientOf(member))));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await replica.signal('haproxy', 'STOP');
    const ordered = lab.switchover();
    await eventually('the change is under way', async () => (await lab.lead())?.state === 'handing');
    const began = performance.now();
    const over = eventually('it is over', async () => ((await lab.lead())?.epoch ?? 0) > epoch).then(() => performance.now());
    await new Promise((resolve) => setTimeout(resolve, 800));
    await replica.signal('haproxy', 'CONT');
    expect(await ordered).toMatchObject({ state: 'done', target: replica.id });
    await whole();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const [atMaster, atReplica] = await Promise.all(writers.map((writer) => writer.stop()));
    expect([atMaster?.failures, atReplica?.failures]).toEqual([[], []]);
    expect((await over) - began).toBeGreaterThan(800);
  });

  it('an order for a member that cannot take over fails and changes nothing', async () => {
    const before = await whole();
    expect(await lab.switchover('acache-9')).toMatchObject({ state: 'failed', error: 'acache-9 is not in sync' });
    expect((await whole()).epoch).toBe(before.epoch);
  });
});

describe('the only replica', () => {
  it('that is stopped is counted on no more before it ends: no write is refused', async () => {
    const { master, replica } = await whole();
    const writer = startWriter(await clientOf(master));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await replica.stopGently();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { taken, failures } = await writer.stop();
    await replica.start();
    await whole();
    expect(failures).toEqual([]);
    expect(taken).toBeGreaterThan(100);
  });
});

describe('without a restart', () => {
  it('passwords change one after another, and a client goes on', async () => {
    const { master } = await whole();
    const client = await clientOf(master);
    await client.set('stays', '1');
    await lab.rotate('fresh-secret', lab.password);
    await eventually('the new password works', () => signIn(master, 'fresh-secret'));
    expect(await signIn(master, lab.password)).toBe(true);
    await lab.rotate(lab.password);
    await eventually('the other one does not any more', async () => !(await signIn(master, 'fresh-secret')));
    expect(await signIn(master, lab.password)).toBe(true);
    expect(await client.get('stays')).toBe('1');
  });

  it('memory grows', async () => {
    const { master } = await whole();
    const before = (await master.status()).maxBytes ?? 0;
    const { run } = await master.status();
    await lab.respec({ memoryBytes: 512 * 2 ** 20 });
    await eventually('it has more', async () => ((await master.status()).maxBytes ?? 0) > before);
    expect((await master.status()).run).toBe(run);
    await lab.respec({});
  });
});

async function signIn(member: XcacheMember, password: string): Promise<boolean> {
  const client = await member.client({
    password,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
  });
  try {
    return (await client.get('stays')) === '1';
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

describe('a failover', () => {
  const afterFault = async (
    what: string,
    fault: (master: XcacheMember) => Promise<void>,
    mend?: (master: XcacheMember) => Promise<void>,
  ) => {
    const before = await whole();
    await once(before.replica, 6379, 'SET', `before:${what}`, 'kept');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const began = performance.now();
    await fault(before.master);
    await eventually(
      `a write is taken after ${what}`,
      async () => (await once(before.replica, 6379, 'SET', `after:${what}`, '1')) === 'OK',
      30_000,
    );
    console.log(`${what}: first write after ${Math.round(performance.now() - began)} ms`);
    const lead = await lab.lead();
    expect(lead).toMatchObject({ master: { id: before.replica.id }, epoch: before.epoch + 1 });
    expect(await once(before.replica, 6379, 'GET', `before:${what}`)).toBe('kept');
    await mend?.(before.master);
    const after = await whole();
    expect(after.replica.id).toBe(before.master.id);
    // The one that was comes back as a replica, with what was written meanwhile.
    await eventually('the old master has it all', async () => (await once(before.master, 6378, 'GET', `after:${what}`)) === '1');
    await expect(once(before.master, 6378, 'SET', 'x', '1')).rejects.toThrow('READONLY');
  };

  it('a killed engine is succeeded at once, and never wins with its empty memory', () =>
    afterFault('kill -9', (master) => master.signal('engine', 'KILL')));

  it('a frozen engine is killed by its sidecar and succeeded', () => afterFault('SIGSTOP', (master) => master.signal('engine', 'STOP')));

  it('a frozen member is succeeded, and takes no write when it wakes', () =>
    afterFault(
      'docker pause',
      (master) => master.pause(),
      (master) => master.unpause(),
    ));

  it('a dead host is succeeded', () =>
    afterFault(
      'docker kill',
      (master) => master.kill(),
      (master) => master.start(),
    ));

  it('a member that is stopped hands over first', () =>
    afterFault(
      'docker stop',
      (master) => master.stopGently(),
      (master) => master.start(),
    ));
});
