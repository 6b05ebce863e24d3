import { Cluster } from 'ioredis';
import { type LabOptions, startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { type CacheMemberStatus, type CacheSpec, ClusterRecord } from '#xcache/schema.ts';
import type { NewCache } from '#xcache/spec.ts';
import { cacheKeys } from '#xcache/store.ts';

/** A cluster of members with sidecars, in fault groups by turns as the controller places them. */
export interface ClusterLab {
  readonly lab: XcacheLab;
  member(id: string): XcacheMember;
  record(): Promise<ClusterRecord | undefined>;
  /** Waits until the record says so. @returns milliseconds that it took */
  becomes(what: string, is: (record: ClusterRecord) => boolean, timeoutMs?: number): Promise<number>;
  /** Every slot is served, and nothing is on its way. */
  whole(shards: number, timeoutMs?: number): Promise<number>;
  addresses(): Promise<Map<string, string>>;
  /** Of all members that answer. */
  statuses(): Promise<Map<string, CacheMemberStatus>>;
  /** Other shards than there were: with new members where there are to be more. */
  scale(shards: number): Promise<void>;
  /** A member is lost for good, and another one takes its place in its shard. @returns its id */
  replace(id: string): Promise<string>;
  /** Members of shards that are to be no more. */
  remove(...ids: string[]): Promise<void>;
  /** @param commandTimeout milliseconds; a host that died answers nothing, and says nothing either */
  client(commandTimeout?: number): Promise<Cluster>;
  /** Sidecar that puts the cluster right. */
  holder(): Promise<XcacheMember>;
}

const GROUPS = ['g1', 'g2', 'g3'];

export async function startClusterLab(fields: Partial<NewCache>, options: LabOptions = {}): Promise<ClusterLab> {
  const lab = await startXcacheLab({ mode: 'cluster', ...fields }, options);
  const members = new Map<string, XcacheMember>();
  const clients: Cluster[] = [];
  let spec: CacheSpec = lab.spec;
  const key = cacheKeys(lab.cache).cluster;
  /** The master of shard n in group n, its replica in the next one. */
  const groupOf = ({ shard }: { shard: number }, isFirst: boolean) => GROUPS[(shard + (isFirst ? 0 : 1)) % GROUPS.length] ?? '';
  const add = async (one: { id: string; shard: number }, isFirst: boolean) => {
    members.set(one.id, await lab.member(one.id, { env: { XCAAS_MODE: 'cluster', XCAAS_GROUP: groupOf(one, isFirst) } }));
  };
  const self: ClusterLab = {
    lab: {
      ...lab,
      async stop() {
        for (const client of clients) client.disconnect();
        await lab.stop();
      },
    },
    member(id) {
      const found = members.get(id);
      if (found === undefined) throw new Error(`there is no ${id}`);
      return found;
    },
    async record() {
      const entry = await lab.consul.kv.get(key, { consistent: true });
      return entry === undefined ? undefined : ClusterRecord.parse(JSON.parse(entry.value));
    },
    async becomes(what, is, timeoutMs = 60_000) {
      const began = performance.now();
      let seen: ClusterRecord | undefined;
      await eventually(
        what,
        async () => {
          seen = await self.record();
          return seen !== undefined && is(seen);
        },
        timeoutMs,
      ).catch(async (error: unknown) => {
        const nodes = await Promise.all(
          [...members].map(async ([id, member]) => `${id}: ${await member.cli('CLUSTER', 'NODES').catch(String)}`),
        );
        throw new Error([`${String(error)}: ${JSON.stringify(seen)}`, ...nodes].join('\n'));
      });
      return Math.round(performance.now() - began);
    },
    whole: (shards, timeoutMs) =>
      self.becomes(
        `the cluster is whole with ${shards} masters`,
        ({ state, slots }) => state === 'whole' && Object.keys(slots).length === shards,
        timeoutMs,
      ),
    addresses: async () => new Map(await Promise.all([...members].map(async ([id, member]) => [id, await member.address()] as const))),
    statuses: async () => new Map(await Promise.all([...members].map(async ([id, member]) => [id, await member.status()] as const))),
    async scale(shards) {
      const next = { ...spec, shards, members: [...spec.members] };
      for (let shard = spec.shards; shard < shards; shard += 1)
        for (let copy = 0; copy <= spec.replicas; copy += 1) {
          next.lastMember += 1;
          const one = { id: `${lab.cache}-${next.lastMember}`, shard };
          next.members.push(one);
          await add(one, copy === 0);
        }
      spec = next;
      await lab.respec(next);
    },
    async replace(id) {
      const shard = spec.members.find((one) => one.id === id)?.shard ?? 0;
      await members.get(id)?.remove();
      members.delete(id);
      const next = { id: `${lab.cache}-${spec.lastMember + 1}`, shard };
      spec = { ...spec, lastMember: spec.lastMember + 1, members: [...spec.members.filter((one) => one.id !== id), next] };
      await lab.respec(spec);
      await add(next, lab.spec.members.findIndex((one) => one.id === id) < lab.spec.shards);
      return next.id;
    },
    async remove(...ids) {
      spec = { ...spec, members: spec.members.filter(({ id }) => !ids.includes(id)) };
      await lab.respec(spec);
      for (const id of ids) {
        await members.get(id)?.remove();
        members.delete(id);
      }
    },
    async client(commandTimeout = 20_000) {
      const hosts = await Promise.all([...members.values()].map((member) => member.address()));
      const client = new Cluster(
        hosts.map((host) => ({ host, port: 6379 })),
        // A master that died without a word is asked until its successor is looked for.
        {
          slotsRefreshInterval: 1000,
          redisOptions: {
            ...{ username: spec.user, password: lab.password, commandTimeout },
            // The members' names are in their certificates, their addresses are not.
            ...(spec.tls ? { tls: { ca: lab.ca, checkServerIdentity: () => undefined } } : {}),
          },
        },
      );
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    async holder() {
      const record = await self.record();
      return self.member(record?.holder ?? '');
    },
  };
  try {
    await Promise.all(spec.members.map((one, index) => add(one, index < spec.shards)));
    return self;
  } catch (error) {
    await self.lab.stop();
    throw error;
  }
}

/**
 * Kills all members at once and starts them in another order, so that each is where another was.
 *
 * @returns milliseconds until the cluster is whole, since the first and since the last of them was started
 */
export async function heal(cluster: ClusterLab, shards: number): Promise<{ sinceFirst: number; sinceLast: number }> {
  const byAddress = [...(await cluster.addresses())].toSorted(([, a], [, b]) => a.localeCompare(b, 'en', { numeric: true }));
  const all = byAddress.map(([id]) => cluster.member(id));
  await Promise.all(all.map((member) => member.kill()));
  // The record says what was before they were killed.
  const before = await cluster.record();
  const began = performance.now();
  // The engine gives the first one that starts the first address.
  const [first, ...rest] = all;
  for (const member of first === undefined ? [] : [...rest, first]) await member.start();
  const started = performance.now();
  await cluster.becomes('the damage is seen', (record) => JSON.stringify(record) !== JSON.stringify(before), 30_000);
  await cluster.whole(shards);
  const now = performance.now();
  return { sinceFirst: Math.round(now - began), sinceLast: Math.round(now - started) };
}

/** A master, and a key that it serves. */
export async function masterWithKey(cluster: ClusterLab): Promise<{ master: string; key: string }> {
  const master = [...(await cluster.statuses())].find(([, { role }]) => role === 'master')?.[0] ?? '';
  const own = (await cluster.member(master).cli('CLUSTER', 'NODES')).split('\n').find((line) => line.includes('myself')) ?? '';
  const ranges = own
    .split(' ')
    .slice(8)
    .map((range) => range.split('-').map(Number));
  for (let number = 0; number < 100; number += 1) {
    const slot = Number(await cluster.member(master).cli('CLUSTER', 'KEYSLOT', `key:${number}`));
    if (ranges.some(([first = -1, last = first]) => slot >= first && slot <= last)) return { master, key: `key:${number}` };
  }
  throw new Error(`${master} serves no key: ${own}`);
}

/** Clients that write without a pause, each key once; what was acknowledged and what failed is counted. */
export interface Load {
  acknowledged: number;
  failures: string[];
  /** Acknowledged a second, since the last call. */
  rate(): number;
  stop(): Promise<void>;
  /** Keys that were acknowledged and are not there. */
  missing(client: Cluster): Promise<string[]>;
}

export function startLoad(client: Cluster, name: string, writers = 16): Load {
  let stopped = false;
  let measured = { at: performance.now(), count: 0 };
  const keys: string[] = [];
  const load: Load = {
    acknowledged: 0,
    failures: [],
    rate() {
      const now = performance.now();
      const rate = ((load.acknowledged - measured.count) * 1000) / (now - measured.at);
      measured = { at: now, count: load.acknowledged };
      return rate;
    },
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
    async missing(reader) {
      const lost: string[] = [];
      for (let first = 0; first < keys.length; first += 1000) {
        const part = keys.slice(first, first + 1000);
        const values = await Promise.all(part.map((key) => reader.get(key)));
        part.forEach((key, index) => {
          if (values[index] !== key) lost.push(key);
        });
      }
      return lost;
    },
  };
  const write = async (writer: number) => {
    for (let count = 0; !stopped; count += 1) {
      const key = `${name}:${writer}:${count}`;
      try {
        await client.set(key, key);
        load.acknowledged += 1;
        keys.push(key);
      } catch (error) {
        load.failures.push(String(error));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const running = Array.from({ length: writers }, (_, writer) => write(writer));
  return load;
}
