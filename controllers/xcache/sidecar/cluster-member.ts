import { join } from 'node:path';
import { createAgeOf } from '#core/age-of.ts';
import { messageOf, toAppError } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';
import { within } from '#member/within.ts';
import { createElectable } from '#xcache/cluster/electable.ts';
import { decideMember, type MemberStep, type MemberWorld } from '#xcache/cluster/member.ts';
import { type NodeLine, parseNodes } from '#xcache/cluster/nodes.ts';
import { countOf } from '#xcache/cluster/slots.ts';
import { electable, NODES_FILE } from '#xcache/engine/cluster-settings.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { CacheMemberStatus } from '#xcache/schema.ts';
import { createClusterBackups } from './cluster-backups.ts';
import { startClusterDriver } from './cluster-driver.ts';
import { type Common, type ModeLoop, PET_MS } from './common.ts';
import { CLUSTER_PORTS } from './config.ts';
import type { EngineLook } from './engine-link.ts';
import { createMetrics } from './metrics.ts';
import { type RecordsView, readRecords } from './records.ts';
import { shutDown } from './shut-down.ts';
import { startEngine } from './start-engine.ts';

/** A step that is not over by then has an unknown end, in milliseconds. */
const STEP_MS: Record<MemberStep['do'], number> = { wait: 0, start: 4000, kill: 6000, leave: 15_000, succeed: 2500 };
const KILL_MS = 5000;
/** A planned failover that is asked for again begins anew. */
const AGAIN_MS = { planned: 5500, forced: 1000 };
const BUSY_LOOK_MS = 100;
const CONSUL_FRESH_MS = 4000;

interface Turn {
  world: MemberWorld;
  step: MemberStep;
  facts: EngineFacts | undefined;
  cluster: { ok: boolean; epoch: number };
  /** What it is to begin with cannot be had. */
  failed: boolean;
}

/**
 * A member of a cluster: keeps its own engine running, and takes the lock when nobody has it. Masters are elected by the engines themselves; clients speak to the engines, so there
 * is neither endpoint nor Sentinel.
 */
export function startClusterMember(common: Common): ModeLoop {
  const { deps, consul, credentials, supervisor, link, settings, session } = common;
  const { config, log } = deps;
  const { cache, member, node, group, paths } = config;
  const metrics = createMetrics();
  const downAge = createAgeOf();
  const failedAge = createAgeOf();
  const mayBeElected = createElectable();
  /** What the engine was told of it. */
  let told = '';
  let view: RecordsView | undefined;
  let heardAt = Number.NEGATIVE_INFINITY;
  let complaint = '';
  let nodes: NodeLine[] = [];
  let cluster = { ok: false, epoch: 0 };
  let last: Turn | undefined;
  let restartSerial = 0;
  let succeedAt = Number.NEGATIVE_INFINITY;
  let ended = false;
  let soonTimer: NodeJS.Timeout | undefined;
  const backups = createClusterBackups(common, { view: () => view, facts: () => last?.facts });
  backups.start();
  const driver = startClusterDriver(common, () => (performance.now() - heardAt < CONSUL_FRESH_MS ? view : undefined));

  /** What was read before stays known. */
  async function read(): Promise<void> {
    const asked = performance.now();
    try {
      view = await readRecords(consul, cache, config.memoryBytes);
      heardAt = asked;
      complaint = '';
    } catch (error) {
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the records cannot be read');
      complaint = text;
    }
  }

  async function turn(): Promise<string> {
    if (ended) return 'the member has ended';
    supervisor.pet(PET_MS);
    const [look] = await Promise.all([link.look(supervisor.engine() ?? { state: 'none' }), read()]);
    supervisor.pet(PET_MS);
    await learn(look);
    if (look.state === 'running')
      await keepElectable(look).catch((error: unknown) =>
        log.warn({ err: messageOf(error) }, 'whether it may be elected could not be set'),
      );
    const world = await worldOf(look);
    const held = look.state === 'down' && view !== undefined && supervisor.term() === undefined ? backups.hold(view) : undefined;
    const step: MemberStep = held === undefined ? decideMember(world) : { rule: 'restore', do: 'wait', reason: held.sentence };
    const facts = look.state === 'running' ? look.facts : undefined;
    last = { world, step, facts, cluster, failed: held?.failed === true };
    common.tell(statusOf(last), step.do !== 'wait');
    await takeLock();
    const secrets = credentials.current();
    if (look.state === 'running' && view !== undefined && secrets !== undefined)
      await settings.keep(look.session, {
        ...{ run: look.facts.run, spec: view.spec.value, credentials: secrets, address: common.address() },
        born: backups.copied(view),
      });
    if (step.do === 'wait' || isTooSoon(step)) {
      if (look.state !== 'running' || world.endingMs !== undefined) soon();
      return step.reason;
    }
    const why = await perform(step, look);
    log[why === undefined ? 'info' : 'warn']({ rule: step.rule, do: step.do, reason: step.reason, why }, 'step');
    soon();
    return step.reason;
  }

  /** Whom this engine knows, by its own word; while it is down, by the file that it left. */
  async function learn(look: EngineLook): Promise<void> {
    if (look.state === 'running') {
      try {
        const [lines, info] = await Promise.all([look.session.call('CLUSTER', 'NODES'), look.session.call('CLUSTER', 'INFO')]);
        nodes = parseNodes(String(lines));
        const field = (name: string) => new RegExp(`^${name}:(\\w+)`, 'm').exec(String(info))?.[1];
        cluster = { ok: field('cluster_state') === 'ok', epoch: Number(field('cluster_current_epoch') ?? 0) };
      } catch {
        // It is looked at again in the next turn.
      }
      return;
    }
    cluster = { ...cluster, ok: false };
    if (nodes.length === 0) nodes = parseNodes((await readIfThere(join(paths.data, NODES_FILE)).catch(() => undefined)) ?? '');
  }

  async function keepElectable({ facts, session: engine }: Extract<EngineLook, { state: 'running' }>): Promise<void> {
    const own = nodes.find((line) => line.myself);
    if (own === undefined) return;
    const master = own.role === 'replica' ? own.master : undefined;
    const lost = nodes.find(({ id, failed }) => id === master && failed)?.id;
    const failedMs = failedAge(lost);
    const may = mayBeElected({ engine: facts, master, masterFailedMs: lost === undefined ? undefined : failedMs });
    const wanted = `${facts.run} ${may}`;
    if (wanted === told) return;
    await engine.call('CONFIG', 'SET', ...electable(may).flat());
    told = wanted;
  }

  async function worldOf(look: EngineLook): Promise<MemberWorld> {
    const appendOnly = view?.spec.value.persistence === 'aof';
    const isDown = look.state === 'down';
    return {
      ...{ me: member, address: common.address(), engine: look, appendOnly, nodes, downMs: downAge(isDown ? 'down' : undefined) },
      known: view !== undefined && credentials.current() !== undefined,
      others: isDown && (!appendOnly || nodes.length === 0) ? await askOthers() : [],
      endingMs: supervisor.term() === undefined ? undefined : performance.now() - (supervisor.term()?.at ?? 0),
    };
  }

  /** What the other members' engines say, those that answer. */
  async function askOthers(): Promise<MemberWorld['others']> {
    const others = Object.entries(view?.statuses ?? {}).filter(([id]) => id !== member);
    const answers = await Promise.all(
      others.map(async ([, { address }]) => {
        let peer: EngineSession | undefined;
        try {
          peer = await common.connect({ host: address, port: CLUSTER_PORTS.engine });
          const [lines, info] = await Promise.all([peer.call('CLUSTER', 'NODES'), peer.call('INFO', 'server')]);
          const seconds = Number(/^uptime_in_seconds:(\d+)/m.exec(String(info))?.[1] ?? 0);
          return [{ nodes: parseNodes(String(lines)), upMs: seconds * 1000 }];
        } catch {
          return [];
        } finally {
          peer?.close();
        }
      }),
    );
    return answers.flat();
  }

  const isTooSoon = (step: MemberStep) =>
    step.do === 'succeed' && performance.now() - succeedAt < (step.force ? AGAIN_MS.forced : AGAIN_MS.planned);

  /** Nothing rests on the lock but that two do not do the same. */
  async function takeLock(): Promise<void> {
    if (view === undefined || view.holder !== undefined || session.id() === undefined || supervisor.term() !== undefined) return;
    await session.takeLock().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the lock could not be taken'));
  }

  /** Never throws. @returns undefined when it is done, else why not */
  async function perform(step: MemberStep, look: EngineLook): Promise<string | undefined> {
    try {
      await common.petting(() => within(run(step, look), STEP_MS[step.do], step.reason));
      return undefined;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'engine') link.drop();
      return messageOf(error);
    }
  }

  async function run(step: MemberStep, look: EngineLook): Promise<void> {
    switch (step.do) {
      case 'wait':
        return;
      case 'start': {
        const secrets = credentials.current();
        if (view === undefined || secrets === undefined) return;
        const spec = view.spec.value;
        restartSerial = spec.restartSerial;
        await startEngine({ paths, supervisor, spec, member, credentials: secrets, address: common.address(), port: CLUSTER_PORTS.engine });
        return;
      }
      case 'kill':
        link.drop();
        await supervisor.kill(KILL_MS);
        return;
      case 'succeed': {
        succeedAt = performance.now();
        const heir = await common.connect({ host: step.address, port: CLUSTER_PORTS.engine });
        try {
          await heir.call('CLUSTER', 'FAILOVER', ...(step.force ? ['FORCE'] : []));
        } finally {
          heir.close();
        }
        return;
      }
      case 'leave':
        if (look.state === 'running') await shutDown(look.session, { supervisor, link }, view?.spec.value.persistence);
        ended = true;
        deps.onLeave();
    }
  }

  function statusOf({ step, facts, world, failed }: Turn): CacheMemberStatus {
    const own = facts === undefined ? undefined : nodes.find((line) => line.myself);
    const master = own?.role === 'replica' ? nodes.find((line) => line.id === own.master) : undefined;
    const role = own === undefined ? 'none' : own.role === 'replica' ? 'replica' : own.slots.length > 0 ? 'master' : 'none';
    const isServing = role === 'master' ? cluster.ok : role === 'replica' ? facts?.linkUp === true && master !== undefined : false;
    const state =
      world.engine.state === 'running'
        ? isServing
          ? 'running'
          : 'catching_up'
        : world.engine.state === 'starting'
          ? 'starting'
          : failed
            ? 'failed'
            : 'down';
    return {
      ...{ v: 1, member, node, group, address: common.address(), enginePort: CLUSTER_PORTS.engine, role, state },
      ...{
        sentence: common.say(step.reason),
        rule: step.rule,
        specIndex: view?.spec.index ?? 0,
        restartSerial,
        epoch: cluster.epoch,
        rev: 0,
        beat: 0,
      },
      ...(facts === undefined
        ? {}
        : { version: facts.version, run: facts.run, offset: facts.offset, usedBytes: facts.usedBytes, maxBytes: facts.maxBytes }),
      ...(own === undefined ? {} : { nodeId: own.id, slots: own.role === 'master' ? countOf(own.slots) : 0 }),
      time: new Date().toISOString(),
    };
  }

  function soon(): void {
    soonTimer ??= setTimeout(() => {
      soonTimer = undefined;
      common.dirty();
    }, BUSY_LOOK_MS);
  }

  return {
    turn,
    routes: [
      ...backups.routes,
      {
        method: 'GET',
        path: '/decision',
        handle: () => ({ body: { member: last, cluster: driver.last() ?? null, record: view?.cluster?.value ?? null } }),
      },
      {
        method: 'GET',
        path: '/metrics',
        handle: async () => ({
          text: await metrics.text({
            ...{ status: common.status(), lead: undefined, facts: last?.facts, endpointLive: true },
            memoryBytes: view?.spec.value.memoryBytes,
            backups: backups.figures(),
            consulReachable: performance.now() - heardAt < CONSUL_FRESH_MS,
          }),
        }),
      },
    ],
    async stop() {
      clearTimeout(soonTimer);
      await Promise.all([driver.stop(), backups.stop()]);
    },
  };
}
