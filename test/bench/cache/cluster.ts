import type { Cluster } from 'ioredis';
import { sleep } from '#core/sleep.ts';
import type { XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { type ClusterLab, heal, masterWithKey, startClusterLab } from '../../appliance/xcache-cluster-lab.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';
import { CRASH, FREEZE, failoverRow, IMPATIENT, lostRow, reconnectAfter } from './pair.ts';
import { reshard } from './reshard.ts';
import { startWriters } from './writers.ts';

export type ClusterPart = 'cluster-crash' | 'cluster-freeze' | 'reshard' | 'heal';

const SHARDS = 3;
/** Of the cluster clients: a master that dies without a word is noticed by nothing else. Milliseconds. */
const REFRESH_MS = 1000;

/** Three masters and their replicas in one engine. What is healed keeps its data on disk; the others keep nothing, as a cache does unless told. */
export async function cluster(plan: Plan, say: Say, parts: ReadonlySet<ClusterPart>): Promise<Row[]> {
  const rows: Row[] = [];
  if (['cluster-crash', 'cluster-freeze', 'reshard'].some((part) => parts.has(part as ClusterPart)))
    await withCluster({}, async (lab) => {
      if (parts.has('cluster-crash')) rows.push(...(await faults(lab, CRASH, plan, say)));
      if (parts.has('cluster-freeze')) rows.push(...(await faults(lab, FREEZE, plan, say)));
      if (parts.has('reshard')) rows.push(...(await reshard(lab, plan, say)));
    });
  if (parts.has('heal'))
    await withCluster({ persistence: 'aof' }, async (lab) => {
      rows.push(await heals(lab, plan, say));
    });
  return rows;
}

async function withCluster(fields: Parameters<typeof startClusterLab>[0], use: (lab: ClusterLab) => Promise<void>): Promise<void> {
  const lab = await startClusterLab(fields);
  try {
    await lab.whole(SHARDS);
    await use(lab);
  } finally {
    await lab.lab.stop();
  }
}

/** As a stock cluster client feels it, and as anybody does who asks the engines of that shard themselves. */
async function faults(
  lab: ClusterLab,
  { figure, name, strike }: typeof CRASH | typeof FREEZE,
  { failovers }: Plan,
  say: Say,
): Promise<Row[]> {
  const [felt, atEngines]: [number[], number[]] = [[], []];
  const total = { lost: 0, acked: 0 };
  for (let turn = 1; turn <= failovers; turn += 1) {
    await settled(lab);
    const { master, key } = await masterWithKey(lab);
    const before = await epochOf(lab);
    const client = await lab.client(REFRESH_MS);
    const engines = await Promise.all(shardOf(lab, master).map((member) => member.client(IMPATIENT)));
    // All keys are in the slot of that one.
    const users = startWriters({ clients: [client], each: 4, prefix: `{${key}}:${name}`, thinkMs: 1 });
    const direct = startWriters({ clients: engines, prefix: `{${key}}:${name}:engine`, thinkMs: 1, onFailure: reconnectAfter });
    try {
      await Promise.all([users.flowing(), direct.flowing()]);
      for (const writers of [users, direct]) writers.mark();
      await strike(lab.member(master));
      await eventually('another one leads', async () => (await epochOf(lab)) > before);
      await Promise.all([users.flowing(), direct.flowing()]);
      felt.push(users.longestMs());
      atEngines.push(direct.longestMs());
      total.lost += (await users.missing(client)).length;
      total.acked += users.acked;
      say(`${name} of ${master} ${turn}: no acknowledged write of its shard for ${ms(felt)}, at its engines ${ms(atEngines)}`);
    } finally {
      await Promise.all([users.stop(), direct.stop()]);
      client.disconnect();
      for (const engine of engines) engine.disconnect();
    }
  }
  await settled(lab);
  const of = `cluster: ${figure}`;
  const told = `ioredis with slotsRefreshInterval and commandTimeout of ${REFRESH_MS / 1000} s`;
  return [
    failoverRow(`${of}, ${told}`, felt),
    { ...failoverRow(`${of}, at the engines`, atEngines), bar: '', met: undefined },
    lostRow(of, total.lost, total),
  ];
}

const ms = (values: readonly number[]) => `${Math.round(values.at(-1) ?? Number.NaN)} ms`;

/** The member and those of its shard. */
function shardOf(lab: ClusterLab, id: string): XcacheMember[] {
  const { members } = lab.lab.spec;
  const shard = members.find((member) => member.id === id)?.shard;
  return members.filter((member) => member.shard === shard).map((member) => lab.member(member.id));
}

const epochOf = async (lab: ClusterLab) => Math.max(...[...(await answering(lab)).values()].map(({ epoch }) => epoch));

/** Sidecars that are frozen do not answer. */
async function answering(lab: ClusterLab): Promise<Awaited<ReturnType<ClusterLab['statuses']>>> {
  const all = await Promise.all(
    lab.lab.spec.members.map(async ({ id }) => {
      const status = await Promise.race([
        lab
          .member(id)
          .status()
          .catch(() => undefined),
        sleep(1000).then(() => undefined),
      ]);
      return status === undefined ? [] : ([[id, status]] as const);
    }),
  );
  return new Map(all.flat());
}

/** Every member does what it should, and masters are in three groups again: one of them moves after most failovers. */
async function settled(lab: ClusterLab): Promise<void> {
  await eventually('all members do what they should, in three groups', async () => {
    const said = [...(await answering(lab)).values()];
    const masters = said.filter(({ role }) => role === 'master');
    const isWell = said.length === 2 * SHARDS && said.every(({ state }) => state === 'running');
    return (
      (isWell && masters.length === SHARDS && new Set(masters.map(({ group }) => group)).size === SHARDS) ||
      said.map(({ sentence }) => sentence)
    );
  });
  await lab.whole(SHARDS);
}

async function heals(lab: ClusterLab, { heals: times }: Plan, say: Say): Promise<Row> {
  const [felt, sinceFirst]: [number[], number[]] = [[], []];
  let keys = 0;
  let missing = 0;
  for (let turn = 1; turn <= times; turn += 1) {
    const client = await lab.client();
    const writers = startWriters({ clients: [client], each: 8, prefix: `heal:${turn}` });
    await writers.flowing();
    // An append-only file is synced each second: what was written in the last one may be in no file.
    await sleep(2000);
    await writers.stop();
    await sleep(1500);
    const took = await heal(lab, SHARDS);
    const reader = await lab.client();
    missing += (await writers.missing(reader)).length;
    keys += writers.acked;
    felt.push(took.sinceLast / 1000);
    sinceFirst.push(took.sinceFirst / 1000);
    for (const one of [client, reader] satisfies Cluster[]) one.disconnect();
    say(`all six killed ${turn}: whole ${took.sinceLast} ms after the last was started, ${took.sinceFirst} ms after the first`);
    await settled(lab);
  }
  return {
    figure: `all six members killed at once, each back where another was → whole, ${times} times`,
    bar: '≤ 20 s, nothing lost',
    measured: `${tell(spread(felt), 1, ' s')} after the last start, ${tell(spread(sinceFirst), 1, ' s')} after the first; ${missing} of ${keys} writes lost`,
    met: Math.max(...felt) <= 20 && missing === 0,
    values: { ...spread(felt), sinceFirstMax: Math.max(...sinceFirst), missing, keys },
  };
}
