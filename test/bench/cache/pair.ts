import type { Cluster, Redis, RedisOptions } from 'ioredis';
import { sleep } from '#core/sleep.ts';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';
import { startWriters, type Writers } from './writers.ts';

export type PairPart = 'switchover' | 'crash' | 'freeze';

interface Pair {
  lab: XcacheLab;
  members: XcacheMember[];
  /** @returns once the record is open and names a replica in sync */
  whole(): Promise<Roles>;
}

interface Roles {
  master: XcacheMember;
  replica: XcacheMember;
  epoch: number;
}

/** Master and replica in one engine with a real Consul. */
export async function pair(plan: Plan, say: Say, parts: ReadonlySet<PairPart>): Promise<Row[]> {
  const lab = await startXcacheLab();
  try {
    const members: XcacheMember[] = [];
    for (const { id } of lab.spec.members) members.push(await lab.member(id));
    const one: Pair = { lab, members, whole: () => whole(lab, members) };
    await one.whole();
    return [
      ...(parts.has('switchover') ? await switchover(one, plan, say) : []),
      ...(parts.has('crash') ? await faults(one, CRASH, plan, say) : []),
      ...(parts.has('freeze') ? await faults(one, FREEZE, plan, say) : []),
    ];
  } finally {
    await lab.stop();
  }
}

async function whole(lab: XcacheLab, members: readonly XcacheMember[]): Promise<Roles> {
  let found: Roles | undefined;
  await eventually('master and replica are in sync', async () => {
    const lead = await lab.lead();
    const master = members.find(({ id }) => id === lead?.master.id);
    const replica = members.find(({ id }) => id === lead?.insync[0]?.id);
    if (lead?.state !== 'open' || master === undefined || replica === undefined) return lead;
    found = { master, replica, epoch: lead.epoch };
    return true;
  });
  return found!;
}

/** As ioredis has it, whatever its version retries: through the endpoints, and by Sentinel. */
async function stockClients({ lab, members }: Pair): Promise<Redis[]> {
  const plain = await Promise.all(Array.from({ length: 6 }, (_, at) => members[at % members.length]!.client()));
  const sentinels = await Promise.all(members.map(async (member) => ({ host: await member.address(), port: 26_379 })));
  const account = { sentinelUsername: lab.spec.user, sentinelPassword: lab.password };
  const options: RedisOptions = { sentinels, name: lab.cache, ...account };
  const bySentinel = await Promise.all(Array.from({ length: 2 }, () => members[0]!.client(options)));
  return [...plain, ...bySentinel];
}

/** So long is written before and after a change too. */
const BESIDE_MS = 500;

async function switchover(one: Pair, { switchovers }: Plan, say: Say): Promise<Row[]> {
  const clients = await stockClients(one);
  const writers = startWriters({ clients, prefix: 'switchover', thinkMs: 1 });
  const reader = await one.members[0]!.client();
  const felt: number[] = [];
  const lost: string[] = [];
  try {
    for (let turn = 1; turn <= switchovers; turn += 1) {
      const before = await one.whole();
      await writers.flowing();
      writers.mark();
      await sleep(BESIDE_MS);
      const order = await one.lab.switchover(before.replica.id);
      if (order.state !== 'done') throw new Error(`a switchover failed: ${order.error}`);
      await one.whole();
      await writers.flowing();
      await sleep(BESIDE_MS);
      felt.push(writers.slowestMs());
      lost.push(...(await writers.missing(reader)));
      say(`switchover ${turn}: slowest command ${Math.round(felt.at(-1)!)} ms, ${writers.failures.length} failed so far`);
    }
  } finally {
    await writers.stop();
    for (const client of [...clients, reader]) client.disconnect();
  }
  const { tried, acked, failures } = writers;
  for (const text of new Set(failures)) say(`failed: ${text}`);
  return [
    {
      figure: `switchover, ${felt.length} times: failed commands of ioredis with its own retries (6 connections to the endpoint, 2 by Sentinel)`,
      bar: '0',
      measured: `${failures.length} of ${tried}; slowest command ${tell(spread(felt), 0, ' ms')}`,
      met: failures.length === 0,
      values: { failed: failures.length, tried, times: felt.length, slowestMaxMs: Math.max(...felt) },
    },
    {
      figure: 'switchover: acknowledged writes lost',
      bar: '0',
      measured: `${lost.length} of ${acked}`,
      met: lost.length === 0,
      values: { lost: lost.length, acked },
    },
  ];
}

interface Fault {
  figure: string;
  name: string;
  strike(master: XcacheMember): Promise<unknown>;
}

export const CRASH = {
  figure: 'kill -9 of the master’s engine',
  name: 'kill -9',
  strike: (member: XcacheMember) => member.signal('engine', 'KILL'),
} satisfies Fault;

/** What a stopped host does, but for its network: it accepts connections and says nothing. The supervisor ends both after a while. */
export const FREEZE = {
  figure: 'SIGSTOP of the master’s engine and sidecar',
  name: 'freeze',
  strike: (member: XcacheMember) => Promise.all([member.signal('engine', 'STOP'), member.signal('node', 'STOP')]),
} satisfies Fault;

/** A client at each endpoint asks again at once, whatever it hears: what is timed is the cache, not how long a client waits. */
export const IMPATIENT: RedisOptions = {
  ...{ commandTimeout: 500, connectTimeout: 500, maxRetriesPerRequest: 0, retryStrategy: () => 20 },
};

/** A command that was not answered stands before all others of its connection. */
export function reconnectAfter(client: Redis | Cluster, error: unknown): void {
  if (String(error).includes('timed out')) client.disconnect(true);
}

async function faults(one: Pair, fault: Fault, { failovers }: Plan, say: Say): Promise<Row[]> {
  const clients = await Promise.all(one.members.map((member) => member.client(IMPATIENT)));
  const writers = startWriters({ clients, prefix: fault.name, thinkMs: 1, onFailure: reconnectAfter });
  const reader = await one.members[0]!.client();
  const felt: number[] = [];
  let lost = 0;
  try {
    for (let turn = 1; turn <= failovers; turn += 1) {
      const before = await one.whole();
      await writers.flowing();
      writers.mark();
      await fault.strike(before.master);
      await eventually('another one leads', async () => ((await one.lab.lead())?.epoch ?? 0) > before.epoch);
      await writers.flowing();
      felt.push(writers.longestMs());
      await one.whole();
      lost += (await writers.missing(reader)).length;
      say(`${fault.name} ${turn}: no acknowledged write for ${Math.round(felt.at(-1)!)} ms`);
      // What it left is put right before the next one.
      await settled(one);
    }
  } finally {
    await writers.stop();
    for (const client of [...clients, reader]) client.disconnect();
  }
  return [failoverRow(fault.figure, felt), lostRow(fault.figure, lost, writers)];
}

async function settled({ members }: Pair): Promise<void> {
  await eventually('both members do what they should', async () => {
    const said = await Promise.all(members.map((member) => member.status()));
    return said.every(({ state }) => state === 'running') || said.map(({ sentence }) => sentence);
  });
  await sleep(500);
}

export function failoverRow(figure: string, felt: readonly number[]): Row {
  const found = spread(felt.map((ms) => ms / 1000));
  return {
    figure: `${figure} → first acknowledged write, ${felt.length} times`,
    bar: 'p99 < 5 s',
    // Of fewer than a hundred the p99 is the slowest.
    measured: tell(found, 2, ' s'),
    met: found.max < 5,
    values: { ...found, times: felt.length },
  };
}

/** What had not been sent to a replica when its master ended is lost: a figure, no bar. */
export function lostRow(figure: string, lost: number, { acked }: Pick<Writers, 'acked'>): Row {
  return {
    figure: `${figure}: acknowledged writes lost`,
    bar: '',
    measured: `${lost} of ${acked}`,
    met: undefined,
    values: { lost, acked },
  };
}
