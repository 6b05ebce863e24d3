import { createAgeOf } from '#core/age-of.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import { mayLead, planCluster } from '#xcache/cluster/plan.ts';
import { reportOf } from '#xcache/cluster/report.ts';
import { countOf } from '#xcache/cluster/slots.ts';
import { type ClusterStep, type ClusterWorld, ownLine } from '#xcache/cluster/world.ts';
import type { ClusterRecord } from '#xcache/schema.ts';
import { type ClusterLook, lookAtCluster } from './cluster-look.ts';
import { createMover } from './cluster-mover.ts';
import { createClusterPeers } from './cluster-peers.ts';
import { createClusterWriter } from './cluster-record.ts';
import { executeClusterStep } from './cluster-steps.ts';
import type { Common } from './common.ts';
import { CLUSTER_PORTS } from './config.ts';
import { writeOrder } from './move-order.ts';
import { createPace } from './pace.ts';
import type { RecordsView } from './records.ts';

/**
 * Puts the cluster right, in the one sidecar that holds the lock: looks at all members, plans, does. Nothing is remembered that counts: whoever holds the lock next goes on from
 * what it sees.
 */
export interface ClusterDriver {
  /** For people: what was seen last and what was decided. */
  last(): { world: ClusterWorld; steps: ClusterStep[] } | undefined;
  stop(): Promise<void>;
}

const LOOK_MS = 300;
/** While nothing is amiss and nothing was asked for. */
const REST_MS = 1000;
/** The same step is not asked for again before: engines need a moment, and a planned failover begins anew each time it is asked for. Milliseconds. */
const AGAIN_MS = 1500;
const AGAIN_FAILOVER_MS = 6000;
/** Redis may count the votes of an election before: its replica leads for a moment, and is told better. It is asked once more. */
const ORDER_AGAIN_MS = 5500;
const ORDER_MS = 14_000;

export function startClusterDriver(common: Common, viewNow: () => RecordsView | undefined): ClusterDriver {
  const { deps, consul, credentials, session } = common;
  const { cache, member } = deps.config;
  const log = deps.log;
  const connect = (address: string, timeoutMs?: number) => common.connect({ host: address, port: CLUSTER_PORTS.engine }, timeoutMs);
  const peers = createClusterPeers(connect);
  const write = createClusterWriter(common);
  const asked = new Map<string, number>();
  const awayAge = createAgeOf();
  const pace = createPace();
  let rest: { asks: string; at: number } | undefined;
  let born = false;
  let lost: ClusterRecord['lost'];
  let last: ReturnType<ClusterDriver['last']>;
  let order: { id: string; at: number; askedAt: number | undefined } | undefined;

  /** The lock is this member's by the newest word, and its session lives. */
  const holds = () => viewNow()?.holder === member && session.id() !== undefined;
  const mover = createMover({
    connect,
    password: () => credentials.current()?.agent,
    holds,
    onEnd: () => loop.markDirty(),
  });

  async function cycle(): Promise<string> {
    const view = viewNow();
    if (view === undefined || !holds()) {
      peers.close();
      pace.forget();
      return 'another member puts the cluster right';
    }
    const asks = `${view.spec.index} ${view.protocol.move?.index}`;
    if (rest?.asks === asks && performance.now() - rest.at < REST_MS) return 'the cluster is as it should be';
    const look = await lookAtCluster(peers, view.statuses);
    const world = worldOf(view, look);
    const steps = planCluster(world);
    last = { world, steps };
    const report = reportOf(world, steps);
    rest = report.state === 'whole' ? { asks, at: performance.now() } : undefined;
    if (steps.some((step) => step.do === 'born')) born = true;
    await obey(view, world);
    const failure = await perform(steps, world, look);
    await write({
      view,
      report,
      born: world.born || born,
      nodes: world.known,
      lost: lost ?? view.cluster?.value.lost,
      failure,
    });
    return steps[0]?.reason ?? 'the cluster is as it should be';
  }

  function worldOf(view: RecordsView, { seen, moving }: ClusterLook): ClusterWorld {
    const { members, shards, replicas, replaceAfterSeconds } = view.spec.value;
    const ids = new Set(members.map(({ id }) => id));
    const here = seen.filter(({ id }) => ids.has(id));
    const away = members.filter(({ id }) => !here.some((one) => one.id === id)).map(({ id }) => id);
    const before = Object.entries(view.cluster?.value.nodes ?? {}).filter(([id]) => ids.has(id));
    const now = here.flatMap((one): [string, string][] => {
      const node = ownLine(one)?.id;
      return node === undefined ? [] : [[one.id, node]];
    });
    born ||= view.cluster?.value.born === true;
    return {
      members: members.map(({ id, shard }) => ({ id, shard, group: view.statuses[id]?.group ?? id })),
      ...{ shards, replicas, seen: here, born, known: Object.fromEntries([...before, ...now]) },
      moving: moving || mover.busy(),
      resting: pace.resting(moving),
      ...{ paused: view.protocol.paused, backup: view.backup, fromBackup: view.spec.value.origin !== undefined },
      awayForLong: awayAge(away.length === 0 ? undefined : away.join()) >= replaceAfterSeconds * 1000,
    };
  }

  /** @returns what went wrong first */
  async function perform(
    steps: readonly ClusterStep[],
    world: ClusterWorld,
    { atomic, failure: moved }: ClusterLook,
  ): Promise<string | undefined> {
    // One that failed is begun again: what is in its way is said as long as it does.
    let failure = steps.some((step) => step.do === 'move') ? (mover.failure() ?? moved) : undefined;
    for (const step of steps) {
      const { reason, ...what } = step;
      const key = JSON.stringify(what);
      const now = performance.now();
      for (const [one, until] of asked) if (until <= now) asked.delete(one);
      if (step.do === 'wait' || asked.has(key)) continue;
      // A holder that slept does nothing after waking.
      if (!holds()) return failure;
      asked.set(key, now + (step.do === 'failover' ? AGAIN_FAILOVER_MS : AGAIN_MS));
      // The older way rests in between.
      if (step.do === 'move' && atomic.has(step.from)) pace.begin();
      const why = await executeClusterStep(step, world, { peers, mover, atomic });
      log[why === undefined ? 'info' : 'warn']({ do: step.do, reason, why }, 'step of the cluster');
      if (why === undefined && step.do === 'give' && step.lost)
        lost = { slots: countOf(step.slots), time: new Date().toISOString(), sentence: reason };
      failure ??= why;
    }
    if (steps.some((step) => step.do !== 'wait')) loop.markDirty();
    return failure;
  }

  /** An order of the user's: a replica is to lead its shard. */
  async function obey(view: RecordsView, world: ClusterWorld): Promise<void> {
    const { move } = view.protocol;
    if (move === undefined) return;
    try {
      const end = async (state: 'done' | 'failed', error?: string) => void (await writeOrder(consul, cache, move, { state, error }));
      const target = world.seen.find(({ id }) => id === move.value.target);
      const own = target === undefined ? undefined : ownLine(target);
      if (order?.id !== move.value.id) order = { id: move.value.id, at: performance.now(), askedAt: undefined };
      if (target === undefined || own === undefined) {
        const replicas = world.seen.filter((one) => ownLine(one)?.role === 'replica').map(({ id }) => id);
        return await end('failed', `a cluster has a master a shard: name the replica that is to lead, one of ${replicas.join(', ')}`);
      }
      if (own.role === 'master' && own.slots.length > 0) return await end('done');
      if (own.role === 'master') return await end('failed', `${target.id} is no replica: it has nothing to lead`);
      if (order.askedAt === undefined && !world.paused && !mayLead(world, target.id)) {
        const group = world.members.find(({ id }) => id === target.id)?.group;
        return await end(
          'failed',
          `too many masters would be in ${group}: ${target.id} would be put back at once, unless the cache is paused`,
        );
      }
      if (performance.now() - order.at > ORDER_MS) return await end('failed', `${target.id} did not take over within ${ORDER_MS / 1000} s`);
      if (performance.now() - (order.askedAt ?? Number.NEGATIVE_INFINITY) > ORDER_AGAIN_MS) {
        order.askedAt = performance.now();
        const answer = await (await peers.session(target.id, target.address)).call('CLUSTER', 'FAILOVER');
        if (answer !== 'OK') throw new AppError('engine', String(answer));
      }
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'an order could not be done');
    }
  }

  const loop: Loop = createLoop({ name: `${member}: cluster`, log: log.child({}, { level: 'warn' }), intervalMs: LOOK_MS, cycle });
  loop.start();
  return {
    last: () => last,
    async stop() {
      await Promise.all([loop.stop(), mover.stop()]);
      peers.close();
    },
  };
}
