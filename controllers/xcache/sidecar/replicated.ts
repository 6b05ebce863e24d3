import { messageOf } from '#core/errors.ts';
import { startEndpoint } from '#member/endpoint.ts';
import { createSecondView } from '#member/second-view.ts';
import { readTls } from '#member/tls-files.ts';
import { watchLeader } from '#member/watch-leader.ts';
import type { CacheSituation } from '#xcache/backup/situation.ts';
import { defaultPasswords } from '#xcache/engine/accounts.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import { decide, doubtOf } from '#xcache/protocol/decide.ts';
import { BUDGETS, type Local, type Step } from '#xcache/protocol/types.ts';
import type { CacheCredentials } from '#xcache/schema.ts';
import { serveSentinel } from '#xcache/sentinel/server.ts';
import { createAddresses } from './addresses.ts';
import { createBackups } from './backups.ts';
import { type Common, type ModeLoop, PET_MS } from './common.ts';
import { XCACHE_PORTS } from './config.ts';
import { createEndpointAim } from './endpoint-aim.ts';
import { endpointOf, takesWrites } from './endpoint-table.ts';
import { engineContents } from './engine-contents.ts';
import type { EngineLook } from './engine-link.ts';
import { execute, type Tools } from './execute.ts';
import { createMetrics } from './metrics.ts';
import { createObserver } from './observe.ts';
import { watchPeers } from './peers.ts';
import { createReading } from './reading.ts';
import { type RecordsView, readRecords } from './records.ts';
import { createOriginRestorer } from './restore-origin.ts';
import { sentinelId, sentinelView } from './sentinel-view.ts';
import { statusOf } from './status.ts';
import { createLeadWriter } from './writer.ts';

/** While something is under way that nobody tells of. */
const BUSY_LOOK_MS = 50;
/** A turn waits so long for the records while Consul answers. Once it is silent, turns go on without: L1 counts on a look at the engine every 0.4 s. */
const READ_WAIT_MS = 250;

/** What a turn saw and decided. */
interface Turn {
  view: RecordsView | undefined;
  local: Local;
  facts: EngineFacts | undefined;
  step: Step;
}

/** A member of a standalone or replicated cache: the protocol, the endpoint, the Sentinel. */
export async function startReplicated(common: Common): Promise<ModeLoop> {
  const { deps, consul, credentials, memory, supervisor, link, settings, dirty } = common;
  const { config, guards, tcp, log } = deps;
  const { cache, member, node, paths } = config;
  const endpoint = await startEndpoint({ driver: tcp, path: paths.endpoint, log, ports: XCACHE_PORTS, onLive: dirty });
  const aim = createEndpointAim(endpoint);
  const metrics = createMetrics();
  const bornAt = performance.now();
  let view: RecordsView | undefined;
  let heardAt: number | undefined;
  let last: Turn | undefined;
  let handoverTriedRev = 0;
  let doubt: Local['doubt'];
  let restartSerial = 0;
  let ended = false;
  let cutBefore = false;
  /** Epoch whose master was seen to take writes. */
  let taken = 0;
  let complaint = '';
  let soonTimer: NodeJS.Timeout | undefined;

  const addresses = createAddresses(endpoint.current());
  const connect = async (host: string) => common.connect({ host, port: XCACHE_PORTS.engine });
  const peers = watchPeers({ connect, onChange: dirty });
  const watch = watchLeader({
    // Engines are looked at all the time anyway.
    probe: async (target) => (peers.of(target.member)?.silentMs ?? 0) < BUDGETS.silentMs,
    secondView: createSecondView({ consul, agentSocket: paths.agentSocket, node }),
    onChange: dirty,
  });
  const observer = createObserver({
    me: member,
    peers,
    memberAt: (at) => (at === common.address() ? member : addresses.memberAt(at)),
    budgets: BUDGETS,
    guards,
  });
  const tools: Tools = {
    ...{ config, consul, credentials, supervisor, link, connect },
    write: createLeadWriter(consul, cache),
    address: common.address,
    addressOf: addresses.of,
    onHandover(rev) {
      handoverTriedRev = rev;
    },
    onStart(serial) {
      restartSerial = serial;
    },
    onLeave() {
      ended = true;
      deps.onLeave();
    },
  };
  const backups = createBackups(common, { situation, contents: engineContents(common) });
  const origin = createOriginRestorer(common);
  const sentinel = serveSentinel({
    port: XCACHE_PORTS.sentinel,
    myId: sentinelId(cache, member),
    // Clients ask what this Sentinel can do; what is served has been the same since.
    version: '7.2.4',
    view() {
      if (view === undefined) return undefined;
      const takes = view.protocol.lead?.value.epoch === taken;
      return sentinelView(view, (id) => (id === member ? common.address() : addresses.of(id)), takes);
    },
    authenticate(user, password) {
      const secrets: Pick<CacheCredentials, 'users' | 'access'> = credentials.current() ?? { users: {} };
      const passwords = user === 'default' ? defaultPasswords(secrets) : (secrets.users[user] ?? []);
      return passwords.includes(password);
    },
    tls: config.tls ? () => readTls(paths.tls) : undefined,
    log,
  });

  /** What was read before stays known, with its age. */
  async function read(): Promise<void> {
    const asked = performance.now();
    try {
      const next = await readRecords(consul, cache, config.memoryBytes);
      const lead = next.protocol.lead?.value;
      // Remembered before anything is decided by it: turns go on meanwhile.
      if (lead !== undefined) await memory.raise(lead.epoch);
      view = next;
      heardAt = asked;
      complaint = '';
      observer.heard(next, asked);
      for (const [id, status] of Object.entries(next.statuses)) addresses.learn(id, status.address);
    } catch (error) {
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the records cannot be read');
      complaint = text;
    }
  }

  const reading = createReading(read, dirty);
  const consulAgeMs = () => performance.now() - (heardAt ?? bornAt - 3_600_000);

  async function turn(): Promise<string> {
    if (ended) return 'the member has ended';
    supervisor.pet(PET_MS);
    const before = view?.protocol.lead?.index;
    const [look] = await Promise.all([
      link.look(supervisor.engine() ?? { state: 'none' }),
      reading.turn(consulAgeMs() > BUDGETS.readGraceMs ? 0 : READ_WAIT_MS),
    ]);
    supervisor.pet(PET_MS);
    // The world has changed while it was looked at: engines are seen as they are now.
    if (view?.protocol.lead?.index !== before) peers.hurry();
    peers.aim(targets());
    const seen = held(look) ?? decided(look);
    last = seen;
    follow(seen);
    const { step } = seen;
    const secrets = credentials.current();
    if (look.state === 'running' && view !== undefined && secrets !== undefined)
      await settings.keep(look.session, {
        ...{ run: look.facts.run, spec: view.spec.value, credentials: secrets, address: common.address() },
        born: view.protocol.lead !== undefined,
      });
    if (step.do === 'wait') {
      if (isUnderWay(seen)) soon();
      return step.reason;
    }
    const failed = await perform(step, look, seen);
    if (failed === undefined) dirty();
    else soon();
    return step.reason;
  }

  /** A cache that begins with a backup of another one: nothing is started before its first member has the data. */
  function held(look: EngineLook): Turn | undefined {
    const birth = view?.protocol.birth?.value;
    if (look.state !== 'down' || birth?.member !== member || birth.done || supervisor.term() !== undefined) return undefined;
    const why = view === undefined ? undefined : origin.hold(view.spec.value);
    if (why === undefined) return undefined;
    return { ...decided(look), step: { do: 'wait', rule: 'restore', reason: why.sentence, alarm: why.failed } };
  }

  /** What backups have to know; undefined while the engine or the records are not there. */
  function situation(): CacheSituation | undefined {
    const lead = last?.view?.protocol.lead?.value;
    if (last?.view === undefined || lead === undefined || last.facts === undefined) return undefined;
    const { view: seen, facts, local } = last;
    const leads = lead.master.id === member && lead.state === 'open';
    const follows = local.engine.state === 'running' && local.engine.following === lead.master.id && local.engine.linkUp;
    return {
      ...{ spec: seen.spec.value, engineVersion: facts.version, usedBytes: facts.usedBytes, leads, faithful: leads || follows },
      ...{ sync: lead.insync[0]?.id, present: seen.protocol.present },
    };
  }

  function decided(look: EngineLook): Turn {
    const records = view === undefined ? undefined : observer.recordsOf(view);
    const local = observer.localOf({
      ...{ records, look, epoch: memory.epoch(), hostDead: watch.dead(), handoverTriedRev, endpointRev: aim.rev(), doubt },
      consulAgeMs: consulAgeMs(),
      stoppingAt: supervisor.term()?.at,
    });
    const facts = look.state === 'running' ? look.facts : undefined;
    return { view, local, facts, step: decide(records, local, BUDGETS, guards) };
  }

  async function perform(step: Step, look: EngineLook, seen: Turn): Promise<string | undefined> {
    const began = performance.now();
    if (step.do === 'write') doubt = doubtOf(step);
    // A step is bounded in time by itself; until then the sidecar is as well as it can be.
    return common.petting(async () => {
      const running = look.state === 'running' ? look : undefined;
      const why = await execute(step, tools, { view: seen.view, session: running?.session, facts: running?.facts });
      metrics.stepped(step, why !== undefined);
      const { rule, reason } = step;
      log[why === undefined ? 'info' : 'warn']({ rule, do: step.do, reason, ms: Math.round(performance.now() - began), why }, 'step');
      return why;
    });
  }

  function targets(): Map<string, string> {
    const others = (view?.protocol.members ?? []).filter((id) => id !== member);
    return new Map(others.flatMap((id) => (addresses.of(id) === undefined ? [] : [[id, addresses.of(id) ?? '']])));
  }

  /** Everything that rests on a turn and is no step of the protocol. */
  function follow({ view: seen, local, facts, step }: Turn): void {
    const lead = seen?.protocol.lead?.value;
    const address = common.address();
    if (seen !== undefined) {
      if (lead?.epoch !== taken && lead !== undefined && takesWrites(lead, local)) taken = lead.epoch;
      const takes = lead?.epoch === taken;
      if (lead?.state === 'open' && !takes) {
        peers.hurry();
        soon();
      }
      const table = endpointOf(seen, { member, address, takes }, endpoint.current());
      if (table !== undefined) aim.lead(table, lead?.rev ?? 0);
      // A master that was lost without a word leaves its clients' connections open; one that stood down or handed over has cut them.
      if (lead !== undefined && lead.state !== 'open') cutBefore = lead.state !== 'promoting' || lead.clear;
      sentinel.changed(cutBefore);
    }
    const master = lead === undefined || lead.master.id === member ? undefined : lead.master.id;
    const at = master === undefined ? undefined : addresses.of(master);
    const host = master === undefined ? undefined : seen?.statuses[master]?.node;
    watch.aim(
      master === undefined || at === undefined ? undefined : { member: master, address: at, port: XCACHE_PORTS.engine, node: host ?? '' },
    );
    const status = statusOf({
      ...{
        member,
        node,
        address,
        local,
        facts,
        lead,
        endpointRev: aim.rev(),
        restartSerial,
        step,
        sentence: common.say(step.reason),
        time: new Date(),
      },
      specIndex: seen?.spec.index ?? 0,
    });
    common.tell(status, step.do !== 'wait');
  }

  function soon(): void {
    soonTimer ??= setTimeout(() => {
      soonTimer = undefined;
      dirty();
    }, BUSY_LOOK_MS);
  }

  backups.start();

  return {
    turn,
    routes: [
      ...backups.routes,
      {
        method: 'GET',
        path: '/decision',
        handle: () => ({ body: { records: last?.view?.protocol ?? null, local: last?.local, step: last?.step } }),
      },
      {
        method: 'GET',
        path: '/metrics',
        handle: async () => ({
          text: await metrics.text({
            ...{ status: common.status(), lead: last?.view?.protocol.lead?.value, facts: last?.facts, endpointLive: endpoint.live() },
            memoryBytes: last?.view?.spec.value.memoryBytes,
            backups: backups.figures(),
            consulReachable: heardAt !== undefined && performance.now() - heardAt < 2 * BUDGETS.readGraceMs,
          }),
        }),
      },
    ],
    async stop() {
      clearTimeout(soonTimer);
      sentinel.close();
      await Promise.all([watch.stop(), peers.stop(), endpoint.stop(), backups.stop(), origin.stop()]);
    },
  };
}

/** What ends without anybody telling is looked after more often. */
function isUnderWay({ local, view }: Turn): boolean {
  const state = view?.protocol.lead?.value.state;
  return local.engine.state === 'starting' || (state !== undefined && state !== 'open') || local.stopping !== undefined;
}
