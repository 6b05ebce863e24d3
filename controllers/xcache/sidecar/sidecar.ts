import { mkdir } from 'node:fs/promises';
import { createConsul, parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import { type AdminRoute, serveAdmin } from '#member/admin.ts';
import { createCredentials } from '#member/credentials.ts';
import { startEndpoint } from '#member/endpoint.ts';
import { holdInstanceLock } from '#member/instance-lock.ts';
import { ownAddress } from '#member/own-address.ts';
import { createSecondView } from '#member/second-view.ts';
import { createSayer } from '#member/sentence.ts';
import { keepSession } from '#member/session.ts';
import type { Supervisor } from '#member/supervisor.ts';
import { watchLeader } from '#member/watch-leader.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import { AGENT_USER, connectEngine } from '#xcache/engine/session.ts';
import { decide, doubtOf } from '#xcache/protocol/decide.ts';
import { BUDGETS, type Guards, type Local, type Step } from '#xcache/protocol/types.ts';
import { CacheCredentials, type CacheMemberStatus } from '#xcache/schema.ts';
import { serveSentinel } from '#xcache/sentinel/server.ts';
import { cacheKeys } from '#xcache/store.ts';
import { createAddresses } from './addresses.ts';
import { type SidecarConfig, XCACHE_PORTS } from './config.ts';
import { endpointOf } from './endpoint-table.ts';
import { createEngineLink, type EngineLook } from './engine-link.ts';
import { execute, type Tools } from './execute.ts';
import { openMemory } from './memory-file.ts';
import { createMetrics } from './metrics.ts';
import { createObserver } from './observe.ts';
import { watchPeers } from './peers.ts';
import { decisive, type RecordsView, readRecords } from './records.ts';
import { sentinelId, sentinelView } from './sentinel-view.ts';
import { keepSettings } from './settings.ts';
import { statusOf, stillOf } from './status.ts';
import { createLeadWriter } from './writer.ts';

export interface SidecarDeps {
  config: SidecarConfig;
  guards: Guards;
  connectSupervisor(onEvent: () => void): Supervisor;
  tcp: TcpDriver;
  log: Logger;
  /** The token has changed on disk: whoever started this starts it again. */
  onStale(): void;
  /** The member has ended as it should. */
  onLeave(): void;
}

export interface Sidecar {
  /** @param keep another process of this member follows at once */
  stop(keep: boolean): Promise<void>;
}

/** Between two turns when nothing was heard of, in milliseconds. What the protocol promises rests on it (protocol/types.ts). */
const LOOK_MS = 400;
/** While something is under way that nobody tells of. */
const BUSY_LOOK_MS = 50;
const SLOW_MS = 5000;
/** The engine is killed when the sidecar has been silent for so long, in milliseconds. Each part of a turn is shorter. */
const PET_MS = 3000;
const PET_EVERY_MS = 500;
const ENGINE_TIMEOUT_MS = 800;
const KEPT_SENTENCES = 300;

/** What a turn saw and decided. */
interface Turn {
  view: RecordsView | undefined;
  local: Local;
  facts: EngineFacts | undefined;
  step: Step;
}

export async function startSidecar(deps: SidecarDeps): Promise<Sidecar> {
  const { config, guards, tcp, log } = deps;
  const { cache, member, node, paths } = config;
  const keys = cacheKeys(cache);
  const stopping = new AbortController();

  await mkdir(paths.state, { recursive: true });
  const lock = await holdInstanceLock(paths.lock);
  const credentials = createCredentials(paths.credentials, log, CacheCredentials);
  await credentials.refresh();
  const memory = await openMemory(paths.memory, { cache, member });
  const token = await readToken(paths.consulToken);
  const consul = createConsul({ socketPath: paths.consulSocket, ...(token === undefined ? {} : { token }) });
  const endpoint = await startEndpoint({ driver: tcp, path: paths.endpoint, log, ports: XCACHE_PORTS });
  const metrics = createMetrics();
  const settings = keepSettings(paths, log);
  const say = createSayer();
  const sentences: string[] = [];
  let address = (await ownAddress()) ?? '127.0.0.1';
  const bornAt = performance.now();
  let view: RecordsView | undefined;
  let heardAt: number | undefined;
  let last: Turn | undefined;
  let lastStatus: CacheMemberStatus | undefined;
  let handoverTriedRev = 0;
  let doubt: Local['doubt'];
  let restartSerial = 0;
  let ended = false;
  let cutBefore = false;
  let complaint = '';
  let soonTimer: NodeJS.Timeout | undefined;

  const dirty = () => loop.markDirty();
  const supervisor = deps.connectSupervisor(dirty);
  const addresses = createAddresses(endpoint.current());
  const connect = (at: { path: string } | { host: string; port: number }) => {
    const password = credentials.current()?.agent;
    if (password === undefined) throw new AppError('unavailable', 'the credentials of this cache are not known yet');
    return connectEngine({ at, user: AGENT_USER, password, timeoutMs: ENGINE_TIMEOUT_MS });
  };
  const link = createEngineLink(async () => connect({ path: paths.engineSocket }), log);
  const peers = watchPeers({ connect: async (host) => connect({ host, port: XCACHE_PORTS.engine }), onChange: dirty });
  const session = keepSession<CacheMemberStatus>({
    ...{ consul, key: keys.member(member), lockKey: keys.leader, member, log, onChange: dirty },
    ...{ name: `cache ${member}`, stillOf },
  });
  const watch = watchLeader({
    // Engines are looked at all the time anyway.
    probe: async (target) => (peers.of(target.member)?.silentMs ?? 0) < BUDGETS.silentMs,
    secondView: createSecondView({ consul, agentSocket: paths.agentSocket, node }),
    onChange: dirty,
  });
  const observer = createObserver({
    me: member,
    peers,
    memberAt: (at) => (at === address ? member : addresses.memberAt(at)),
    budgets: BUDGETS,
    guards,
  });
  const tools: Tools = {
    ...{ config, consul, credentials, supervisor, link },
    write: createLeadWriter(consul, cache),
    address: () => address,
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
  const sentinel = serveSentinel({
    port: XCACHE_PORTS.sentinel,
    myId: sentinelId(cache, member),
    // Clients ask what this Sentinel can do; what is served has been the same since.
    version: '7.2.4',
    view: () => (view === undefined ? undefined : sentinelView(view, (id) => (id === member ? address : addresses.of(id)))),
    authenticate(user, password) {
      const users = credentials.current()?.users ?? {};
      const passwords = user === 'default' ? Object.values(users).flat() : (users[user] ?? []);
      return passwords.includes(password);
    },
    log,
  });

  /** What was read before stays known, with its age. */
  async function read(): Promise<void> {
    const asked = performance.now();
    try {
      const next = await readRecords(consul, cache);
      view = next;
      heardAt = asked;
      complaint = '';
      observer.heard(next, asked);
      for (const [id, status] of Object.entries(next.statuses)) addresses.learn(id, status.address);
      const lead = next.protocol.lead?.value;
      if (lead !== undefined) await memory.raise(lead.epoch);
    } catch (error) {
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the records cannot be read');
      complaint = text;
    }
  }

  async function turn(): Promise<string> {
    if (ended) return 'the member has ended';
    supervisor.pet(PET_MS);
    const before = view?.protocol.lead?.index;
    const [look] = await Promise.all([link.look(supervisor.engine() ?? { state: 'none' }), read()]);
    supervisor.pet(PET_MS);
    // The world has changed while it was looked at: engines are seen as they are now.
    if (view?.protocol.lead?.index !== before) peers.hurry();
    peers.aim(targets());
    const seen = decided(look);
    last = seen;
    follow(seen);
    const { step } = seen;
    const secrets = credentials.current();
    if (look.state === 'running' && view !== undefined && secrets !== undefined)
      await settings.keep(look.session, { run: look.facts.run, spec: view.spec.value, credentials: secrets, address });
    if (step.do === 'wait') {
      if (isUnderWay(seen)) soon();
      return step.reason;
    }
    const failed = await perform(step, look, seen);
    if (failed === undefined) dirty();
    else soon();
    return step.reason;
  }

  function decided(look: EngineLook): Turn {
    const records = view === undefined ? undefined : observer.recordsOf(view);
    const local = observer.localOf({
      ...{ records, look, epoch: memory.epoch(), hostDead: watch.dead(), handoverTriedRev, doubt },
      consulAgeMs: performance.now() - (heardAt ?? bornAt - 3_600_000),
      stoppingAt: supervisor.term()?.at,
    });
    const facts = look.state === 'running' ? look.facts : undefined;
    return { view, local, facts, step: decide(records, local, BUDGETS, guards) };
  }

  async function perform(step: Step, look: EngineLook, seen: Turn): Promise<string | undefined> {
    const began = performance.now();
    if (step.do === 'write') doubt = doubtOf(step);
    // A step is bounded in time by itself; until then the sidecar is as well as it can be.
    const petting = setInterval(() => supervisor.pet(PET_MS), PET_EVERY_MS);
    try {
      const running = look.state === 'running' ? look : undefined;
      const why = await execute(step, tools, { view: seen.view, session: running?.session, facts: running?.facts });
      metrics.stepped(step, why !== undefined);
      const { rule, reason } = step;
      log[why === undefined ? 'info' : 'warn']({ rule, do: step.do, reason, ms: Math.round(performance.now() - began), why }, 'step');
      return why;
    } finally {
      clearInterval(petting);
    }
  }

  function targets(): Map<string, string> {
    const others = (view?.protocol.members ?? []).filter((id) => id !== member);
    return new Map(others.flatMap((id) => (addresses.of(id) === undefined ? [] : [[id, addresses.of(id) ?? '']])));
  }

  /** Everything that rests on a turn and is no step of the protocol. */
  function follow({ view: seen, local, facts, step }: Turn): void {
    const lead = seen?.protocol.lead?.value;
    if (seen !== undefined) {
      const table = endpointOf(seen, { member, address }, endpoint.current());
      if (table !== undefined) endpoint.lead(table);
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
    const sentence = say(step.reason);
    lastStatus = statusOf({
      ...{ member, node, address, local, facts, lead, restartSerial, step, sentence, time: new Date() },
      specIndex: seen?.spec.index ?? 0,
    });
    session.set(lastStatus);
    if (sentences.at(-1)?.endsWith(` ${sentence}`) === true) return;
    if (step.do === 'wait') log.info({ rule: step.rule, sentence }, 'waits');
    sentences.push(`${new Date().toISOString()} ${sentence}`);
    if (sentences.length > KEPT_SENTENCES) sentences.shift();
  }

  let slowAt = Number.NEGATIVE_INFINITY;
  async function cycle(): Promise<string> {
    if (performance.now() - slowAt >= SLOW_MS) {
      slowAt = performance.now();
      if ((await readToken(paths.consulToken)) !== token) deps.onStale();
      await credentials.refresh();
      address = (await ownAddress()) ?? address;
    }
    return turn();
  }

  function soon(): void {
    soonTimer ??= setTimeout(() => {
      soonTimer = undefined;
      dirty();
    }, BUSY_LOOK_MS);
  }

  const loop = createLoop({ name: member, log: log.child({}, { level: 'warn' }), intervalMs: LOOK_MS, cycle });
  let decisiveText: string | undefined;
  void watchConsul({
    consul,
    path: `/v1/kv/${keys.base}`,
    query: { recurse: true },
    // Members' own records change all the time, and little is decided by them.
    parse: (answer) => decisive(parseKv(answer, `the records of ${cache}`), cache),
    onChange(text) {
      if (text !== decisiveText) dirty();
      decisiveText = text;
    },
    onError: () => undefined,
    log,
    signal: stopping.signal,
  });
  const admin = await serveAdmin(paths.admin, routes());
  loop.start();
  log.info({ cache, member, address, epoch: memory.epoch() }, 'sidecar started');

  function routes(): AdminRoute[] {
    const now = () => {
      if (lastStatus === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
      return lastStatus;
    };
    return [
      { method: 'GET', path: '/status', handle: () => ({ body: now() }) },
      {
        method: 'GET',
        path: '/health',
        handle() {
          const ok = loop.alive() && (lastStatus?.state === 'running' || lastStatus?.state === 'catching_up');
          return { status: ok ? 200 : 503, body: { ok, sentence: lastStatus?.sentence ?? 'this member has not looked around yet' } };
        },
      },
      { method: 'GET', path: '/logs', handle: ({ query }) => ({ body: { lines: sentences.slice(-linesOf(query.get('lines'))) } }) },
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
            ...{ status: now(), lead: last?.view?.protocol.lead?.value, facts: last?.facts, endpointLive: endpoint.live() },
            consulReachable: heardAt !== undefined && performance.now() - heardAt < 2 * BUDGETS.readGraceMs,
          }),
        }),
      },
    ];
  }

  return {
    async stop(keep) {
      stopping.abort();
      clearTimeout(soonTimer);
      admin.close();
      admin.closeAllConnections();
      sentinel.close();
      await Promise.all([loop.stop(), watch.stop(), peers.stop(), endpoint.stop()]);
      await session.stop(keep);
      link.drop();
      consul.close();
      lock.close();
    },
  };
}

/** What ends without anybody telling is looked after more often. */
function isUnderWay({ local, view }: Turn): boolean {
  const state = view?.protocol.lead?.value.state;
  return local.engine.state === 'starting' || (state !== undefined && state !== 'open') || local.stopping !== undefined;
}

/** @throws AppError `invalid` */
function linesOf(text: string | null): number {
  if (text !== null && !/^[1-9]\d{0,4}$/.test(text)) throw new AppError('invalid', 'lines must be a number');
  return Number(text ?? 100);
}

/** Without a token Consul refuses everything, which harms nothing; the file may come later. */
async function readToken(path: string): Promise<string | undefined> {
  const text = ((await readIfThere(path).catch(() => undefined)) ?? '').trim();
  return text === '' ? undefined : text;
}
