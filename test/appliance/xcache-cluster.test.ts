import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { memberImage } from '#test/xcache-lab.ts';
import { parseNodes } from '#xcache/cluster/nodes.ts';
import { planCluster } from '#xcache/cluster/plan.ts';
import { countOf } from '#xcache/cluster/slots.ts';
import type { ClusterMember, ClusterStep, SeenMember } from '#xcache/cluster/world.ts';

/** The plan of a cluster with the real engine: all members in one container, each on a port of its own, which stands for its address. */
const container = `xcaas-test-xcache-cluster-${process.pid}`;
const members: ClusterMember[] = [];
const ports = new Map<string, number>();
const known: Record<string, string> = {};
let born = false;
let shards = 3;
let nextPort = 7000;

const sh = async (script: string) => {
  const { code, stdout, stderr } = await run('docker', ['exec', container, 'sh', '-c', script], { timeoutMs: 60_000 });
  if (code !== 0) throw new Error(`${script}: ${stderr}${stdout}`);
  return stdout;
};
const cli = (id: string, ...words: string[]) => sh(`timeout 5 valkey-cli -p ${ports.get(id)} ${words.join(' ')}`);

/** A new port each time: nobody finds it where it was. */
async function start(id: string): Promise<void> {
  nextPort += 1;
  ports.set(id, nextPort);
  const options = `--cluster-enabled yes --cluster-node-timeout 2000 --appendonly yes --protected-mode no --save '""' --pidfile /tmp/${id}/pid`;
  await sh(`mkdir -p /tmp/${id} && valkey-server --port ${nextPort} --dir /tmp/${id} ${options} --daemonize yes --logfile /tmp/${id}/log`);
}
const kill = (id: string) => sh(`kill -9 $(cat /tmp/${id}/pid)`);

function add(shard: number, ...groups: string[]): ClusterMember[] {
  const made = groups.map((group) => ({ id: `c-${members.length + groups.indexOf(group) + 1}`, shard, group }));
  members.push(...made);
  return made;
}

/** One answer of each member, undefined for one that gives none. */
async function all(...words: string[]): Promise<Map<string, string>> {
  const asked = members.map(({ id }) => `timeout 5 valkey-cli -p ${ports.get(id)} ${words.join(' ')} 2>/dev/null && echo "=== ${id}"`);
  const text = await sh(`${asked.map((line) => `r=$(${line}) && echo "$r"`).join('; ')}; true`);
  const answers = new Map<string, string>();
  let lines: string[] = [];
  for (const line of text.split('\n')) {
    const id = /^=== (.*)$/.exec(line)?.[1];
    if (id === undefined) lines.push(line);
    else {
      answers.set(id, lines.join('\n'));
      lines = [];
    }
  }
  return answers;
}

async function look(): Promise<SeenMember[]> {
  return [...(await all('CLUSTER', 'NODES'))].map(([id, text]) => {
    const nodes = parseNodes(text);
    const own = nodes.find((node) => node.myself);
    if (own !== undefined) known[id] = own.id;
    return { id, address: '127.0.0.1', port: ports.get(id) ?? 0, nodes, ok: true };
  });
}

async function execute(step: ClusterStep): Promise<void> {
  switch (step.do) {
    case 'meet':
      await cli(step.at, 'CLUSTER', 'MEET', step.address, String(step.port));
      return;
    case 'give':
      await cli(step.at, 'CLUSTER', 'ADDSLOTSRANGE', ...step.slots.flatMap(({ first, last }) => [String(first), String(last)]));
      return;
    case 'born':
      born = true;
      return;
    case 'replicate':
      await cli(step.at, 'CLUSTER', 'REPLICATE', step.master);
      return;
    case 'forget':
      await cli(step.at, 'CLUSTER', 'FORGET', step.node);
      return;
    case 'failover':
      await cli(step.at, 'CLUSTER', 'FAILOVER');
      return;
    case 'move':
      await cli(step.from, 'CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', String(step.slots.first), String(step.slots.last), 'NODE', step.node);
      return;
    case 'wait':
      return;
  }
}

/** `CLUSTER GETSLOTMIGRATIONS`: each with its state; those that are over stay listed for a while. */
async function isMoving(): Promise<boolean> {
  const states = [...(await all('CLUSTER', 'GETSLOTMIGRATIONS')).values()].flatMap((text) =>
    [...text.matchAll(/^state\n(.*)$/gm)].map((match) => match[1]),
  );
  return states.some((state) => state !== 'success' && state !== 'failed' && state !== 'cancelled');
}

/** Looks, plans and does until there is nothing to do any more, twice in a row. @returns what was done */
async function settle(): Promise<ClusterStep[]> {
  const done: ClusterStep[] = [];
  let quiet = 0;
  const found = await waitFor(
    async () => {
      const seen = await look();
      const steps = planCluster({ members, shards, seen, born, known, moving: await isMoving() });
      for (const step of steps) {
        done.push(step);
        await execute(step).catch((error: unknown) => done.push({ do: 'wait', reason: String(error) }));
      }
      quiet = steps.length === 0 ? quiet + 1 : 0;
      const state = quiet > 1 ? await cli(members[0]?.id ?? '', 'CLUSTER', 'INFO') : '';
      return quiet > 1 && state.includes('cluster_state:ok') ? true : undefined;
    },
    { timeoutMs: 60_000, intervalMs: 300 },
  );
  if (found !== true) throw new Error(`it does not settle: ${JSON.stringify(done.slice(-8))}`);
  return done;
}

const write = async (count: number) =>
  sh(`for i in $(seq 1 ${count}); do echo "SET k:$i $i"; done | valkey-cli -c -p ${ports.get(members[0]?.id ?? '')} | grep -c OK`);
const masters = async () => (await look()).filter(({ nodes }) => nodes.some((node) => node.myself && node.slots.length > 0));
async function keys(): Promise<number> {
  const sizes = await Promise.all((await masters()).map(({ id }) => cli(id, 'DBSIZE')));
  return sizes.reduce((sum, size) => sum + Number(size.replace(/\D/g, '')), 0);
}

beforeAll(async () => {
  await run('docker', [
    'run',
    '--detach',
    '--name',
    container,
    '--label',
    'xcaas.test=xcache',
    '--entrypoint',
    'tini',
    await memberImage(),
    '--',
    'sleep',
    'infinity',
  ]);
  for (const [shard, groups] of [
    ['g1', 'g2'],
    ['g2', 'g3'],
    ['g3', 'g1'],
  ].entries())
    add(shard, ...groups);
  for (const { id } of members) await start(id);
});
afterAll(() => run('docker', ['rm', '--force', '--volumes', container]));

describe('a cluster', () => {
  it('is made: every slot has a master, every master a replica elsewhere', async () => {
    const done = await settle();
    expect(done.filter((step) => step.do === 'give')).toHaveLength(3);
    expect(born).toBe(true);
    const all = await look();
    for (const { nodes } of all) expect(nodes.filter((node) => node.linkUp && !node.failed)).toHaveLength(6);
    expect(all.filter(({ nodes }) => nodes.some((node) => node.myself && node.role === 'replica'))).toHaveLength(3);
    expect(Number(await write(300))).toBe(300);
    expect(await keys()).toBe(300);
  });

  it('whose members were all killed and came back with other addresses finds itself again, with its data', async () => {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (const { id } of members) await kill(id);
    const began = performance.now();
    for (const { id } of members) await start(id);
    const done = await settle();
    console.log(`all restarted with other addresses: whole after ${Math.round(performance.now() - began)} ms`);
    expect(done.some((step) => step.do === 'meet')).toBe(true);
    expect(done.some((step) => step.do === 'give')).toBe(false);
    expect(await keys()).toBe(300);
  });

  it('that grows by a shard moves slots to it, and none of its keys is lost', async () => {
    for (const { id } of add(3, 'g4', 'g1')) await start(id);
    shards = 4;
    const done = await settle();
    expect(done.some((step) => step.do === 'move' && step.to === 'c-7')).toBe(true);
    const sizes = (await masters()).map(({ nodes }) => countOf(nodes.find((node) => node.myself)?.slots ?? []));
    expect(sizes).toEqual([4096, 4096, 4096, 4096]);
    expect(await keys()).toBe(300);
  });

  it('whose masters have gathered in one group spreads them again', async () => {
    // c-6 in g1 takes over from c-5 in g3: g1 has two masters.
    await cli('c-6', 'CLUSTER', 'FAILOVER');
    await waitFor(async () => ((await masters()).some(({ id }) => id === 'c-6') ? true : undefined), { timeoutMs: 10_000 });
    const done = await settle();
    expect(done.some((step) => step.do === 'failover')).toBe(true);
    const groups = (await masters()).map(({ id }) => members.find((member) => member.id === id)?.group);
    expect(new Set(groups).size).toBe(4);
    expect(await keys()).toBe(300);
  });
});
