import { mkdir } from 'node:fs/promises';
import { type ConsulClient, createConsul, parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { Engine, UserAdmin } from '#xdb/engine/engine.ts';
import { BUDGETS } from '#xdb/protocol/types.ts';
import type { MemberStatus } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import { keepAccounts } from './accounts.ts';
import { type AdminRoute, serveAdmin } from './admin.ts';
import { backupRoutes, createBackups } from './backups.ts';
import { type CloneProgress, createRecipient } from './clone-client.ts';
import { createDonor } from './clone-server.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import { createCredentials } from './credentials.ts';
import { openDisk } from './disk.ts';
import { guardDisk } from './disk-guard.ts';
import { startEndpoint } from './endpoint.ts';
import { endpointOf } from './endpoint-table.ts';
import { createEngineLink } from './engine-link.ts';
import type { Tools } from './execute/context.ts';
import { createFailpoints } from './failpoint.ts';
import { readGuards } from './guards.ts';
import { createHeartbeat } from './heartbeat.ts';
import { holdInstanceLock } from './instance-lock.ts';
import { createKnownAddresses } from './known-addresses.ts';
import { createMetrics } from './metrics.ts';
import { createObserver } from './observe.ts';
import { ownAddress } from './own-address.ts';
import { createPeerClient } from './peer-client.ts';
import { startPeerServer } from './peer-server.ts';
import { serveStore } from './peer-store.ts';
import { followPositions } from './positions.ts';
import { probeEngine } from './probe-engine.ts';
import { decisive } from './records.ts';
import { createRequests } from './requests.ts';
import { createOriginRestorer } from './restore-origin.ts';
import { memberRoutes } from './routes.ts';
import { createSecondView } from './second-view.ts';
import { createSayer } from './sentence.ts';
import { keepSession } from './session.ts';
import { statusOf } from './status.ts';
import type { Supervisor } from './supervisor.ts';
import { createRecordWriter } from './transaction.ts';
import { createTurner, type Turn } from './turn.ts';
import { userRoutes } from './user-routes.ts';
import { watchLeader } from './watch-leader.ts';

export interface SidecarDeps {
  config: SidecarConfig;
  /** @param agentPassword of the sidecar's own account, as it is known now */
  engine(agentPassword: () => string | undefined): { engine: Engine; users: UserAdmin };
  /** Of a data directory that no engine runs on yet. */
  engineAt(dataDir: string): Pick<Engine, 'load'>;
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

/** Between two looks when nothing was heard of, in milliseconds; and while something is under way that nobody tells of. */
const LOOK_MS = 500;
const BUSY_LOOK_MS = 100;
const SLOW_MS = 5000;
const KEPT_SENTENCES = 300;

export async function startSidecar(deps: SidecarDeps): Promise<Sidecar> {
  const { config, tcp, log } = deps;
  const { db, member, node, paths } = config;
  const keys = dbKeys(db);
  const stopping = new AbortController();
  const failpoints = createFailpoints(config.test.failpoints);
  const { guards } = readGuards(config.test.guards);
  if (config.test.failpoints !== '' || config.test.guards !== '') log.warn(config.test, 'this member is under test: it is not safe');

  await mkdir(paths.state, { recursive: true });
  const lock = await holdInstanceLock(paths.lock);
  const credentials = createCredentials(paths.credentials, log);
  await credentials.refresh();
  const { engine, users } = deps.engine(() => credentials.current()?.agent);
  const disk = await openDisk(paths.memory, { db, member }, failpoints);
  if (disk.isNew) {
    if (await engine.hasData()) {
      throw new AppError('conflict', 'this volume holds data of which nothing is known', {
        hint: 'give the member an empty volume; nothing was touched',
      });
    }
    await disk.claim();
  }
  const token = await readToken(paths.consulToken);
  const consul: ConsulClient = createConsul({ socketPath: paths.consulSocket, ...(token === undefined ? {} : { token }) });
  const endpoint = await startEndpoint({ driver: tcp, path: paths.endpoint, log });
  const requests = createRequests();
  const metrics = createMetrics();
  const say = createSayer();
  const sentences: string[] = [];
  let address = (await ownAddress()) ?? '127.0.0.1';
  let last: Turn | undefined;
  let lastStatus: MemberStatus | undefined;
  let cloning: CloneProgress | undefined;
  let ended = false;
  let busyTimer: NodeJS.Timeout | undefined;

  const dirty = () => loop.markDirty();
  const supervisor = deps.connectSupervisor(() => {
    const term = supervisor.term();
    if (term !== undefined) requests.leave(term.at);
    dirty();
  });
  const tls = { ca: paths.ca, certificate: paths.certificate, privateKey: paths.privateKey };
  const peers = createPeerClient({ db, member, tls, secret: credentials.peerSecret });
  const addresses = createKnownAddresses(endpoint.current());
  const heartbeat = createHeartbeat({ engine, log });
  const session = keepSession({ consul, key: keys.member(member), lockKey: keys.leader, member, log, onChange: dirty });
  const accounts = keepAccounts(users, log);
  const positions = followPositions(peers, dirty);
  const diskGuard = guardDisk({
    path: paths.state,
    reserve: paths.reserve,
    diskBytes: () => last?.view?.spec.value.diskBytes,
    onChange: dirty,
  });
  const watch = watchLeader({
    probe: (target, timeoutMs) => probeEngine(target.address, target.port, timeoutMs),
    secondView: createSecondView({ consul, agentSocket: paths.agentSocket, node }),
    onChange: dirty,
  });
  const tools: Tools = {
    config,
    engine,
    link: createEngineLink(engine, log),
    supervisor,
    disk,
    session,
    heartbeat,
    write: createRecordWriter({ consul, db, member, failpoints }),
    takeClone: createRecipient({ engine, peers, log }),
    restoreOrigin: createOriginRestorer({ config, engine, consul, credentials, log }),
    consul,
    credentials,
    failpoints,
    log,
    onClone(progress) {
      cloning = progress;
      tell();
    },
    onLeave() {
      ended = true;
      deps.onLeave();
    },
  };
  const turner = createTurner({
    tools,
    observer: createObserver({ db, me: member, addressOf: (id) => addresses.of(id)?.address, engine, requests }),
    ...{ positions, watch, diskGuard, addresses, metrics, guards, log },
    budgets: BUDGETS,
    onDecided: follow,
  });

  /** Everything that rests on a turn and is no step of the protocol. */
  function follow(turn: Turn): void {
    last = turn;
    const { view, local, facts } = turn;
    const sync = view?.protocol.sync?.value;
    const leads = sync?.leader.id === member && sync.leader.gen === local.disk.gen;
    if (view !== undefined) {
      const table = endpointOf(view, { member, address }, endpoint.current());
      if (table !== undefined) endpoint.lead(table);
    }
    const writing = leads && sync.state === 'open' && facts !== undefined && !facts.readOnly;
    heartbeat.set(writing ? { epoch: sync.epoch, member, instance: facts.instance } : undefined);
    const known = credentials.current();
    const spec = view?.spec.value;
    const wanted = writing && known !== undefined && spec !== undefined;
    accounts.set(wanted ? { where: `${facts.instance} ${sync.epoch}`, database: spec.database, users: known.users } : undefined);
    aim(turn);
    releaseLock(turn, leads);
    tell();
  }

  function writes(): boolean {
    const sync = last?.view?.protocol.sync?.value;
    return sync?.leader.id === member && sync.state === 'open' && last?.facts?.readOnly === false;
  }

  function aim({ view, facts }: Turn): void {
    const sync = view?.protocol.sync?.value;
    const leader = sync === undefined || sync.leader.id === member ? undefined : sync.leader.id;
    const at = leader === undefined ? undefined : addresses.of(leader);
    watch.aim(
      leader === undefined || at === undefined ? undefined : { member: leader, address: at.address, port: XDB_PORTS.engine, node: at.node },
    );
    // While there is no sync slave the leader wants to know how near its followers are.
    const wanted = sync?.leader.id === member && sync.state === 'open' && sync.sync === null && facts !== undefined;
    const followers = new Set(facts?.dumps.map((dump) => dump.member) ?? []);
    positions.want(
      [...followers].flatMap((id) => {
        const found = wanted ? addresses.of(id) : undefined;
        return found === undefined ? [] : [{ member: id, address: found.address, port: XDB_PORTS.peer }];
      }),
    );
  }

  /** A leader whose engine is gone lets its sync slave take over at once, rather than after its session. */
  function releaseLock({ view, local }: Turn, leads: boolean): void {
    const records = view?.protocol;
    const heir = records?.sync?.value.sync?.id;
    if (!leads || heir === undefined || records === undefined || local.engine.state !== 'down' || local.stopping?.then === 'restart')
      return;
    if (records.lockHolder !== member || records.paused || !records.present.includes(heir)) return;
    session.releaseLock().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the lock could not be given back'));
  }

  function tell(): void {
    if (last === undefined) return;
    const { view, local, facts, step } = last;
    const bytes = cloning === undefined ? '' : ` (${Math.floor(cloning.bytes / 2 ** 20)} MiB so far)`;
    const sentence = say(`${step.reason}${bytes}`);
    const ready = view?.protocol.data[member]?.value.ready ?? null;
    lastStatus = statusOf({
      ...{ member, node, address, local, facts, step, sentence, ready },
      sync: view?.protocol.sync?.value,
      replica: view?.protocol.replicas.includes(member) ?? false,
      spec: view?.spec,
      startedSerial: disk.now().startedSerial,
      cloning: cloning !== undefined,
      disk: diskGuard.use(),
      pendingRestart: [],
      time: new Date(),
    });
    session.set(lastStatus);
    if (!sentences.at(-1)?.endsWith(` ${sentence}`)) {
      // Steps are logged with how they ended.
      if (step.do === 'wait') log.info({ rule: step.rule, sentence }, 'waits');
      sentences.push(`${new Date().toISOString()} ${sentence}`);
    }
    if (sentences.length > KEPT_SENTENCES) sentences.shift();
  }

  let slowAt = Number.NEGATIVE_INFINITY;
  async function cycle(): Promise<string> {
    if (ended) return 'the member has ended';
    if (performance.now() - slowAt >= SLOW_MS) {
      slowAt = performance.now();
      await lookAtFiles();
    }
    const { step, outcome } = await turner.turn();
    if (outcome?.is === 'done') dirty();
    else if (outcome !== undefined || isUnderWay(last)) soon();
    return say(step.reason);
  }

  function soon(): void {
    busyTimer ??= setTimeout(() => {
      busyTimer = undefined;
      dirty();
    }, BUSY_LOOK_MS);
  }

  async function lookAtFiles(): Promise<void> {
    if ((await readToken(paths.consulToken)) !== token) deps.onStale();
    await credentials.refresh();
    address = (await ownAddress()) ?? address;
  }

  const loop = createLoop({ name: member, log: log.child({}, { level: 'warn' }), intervalMs: LOOK_MS, cycle });
  void watchConsul({
    consul,
    path: `/v1/kv/${keys.base}`,
    query: { recurse: true },
    // Members' own records change all the time, and nothing is decided by them.
    parse: (answer) => decisive(parseKv(answer, `the records of ${db}`), db),
    onChange: noteChange(dirty),
    onError: () => undefined,
    log,
    signal: stopping.signal,
  });

  const backups = createBackups({
    ...{ config, engine, engineAt: deps.engineAt, consul, credentials, peers, log, last: () => last },
    addressOf: (id) => addresses.of(id)?.address,
  });
  const peerServer = startPeers();
  const admin = await serveAdmin(paths.admin, routes());
  loop.start();
  backups.start();
  log.info({ db, member, address, gen: disk.now().gen, wasMaster: disk.now().wasMaster, epoch: disk.now().epoch }, 'sidecar started');

  function startPeers() {
    const donor = createDonor({
      engine,
      leading() {
        const sync = last?.view?.protocol.sync?.value;
        const open = sync?.leader.id === member && sync.state === 'open' && last?.facts !== undefined;
        return open && sync.leader.gen === disk.now().gen ? { gen: sync.leader.gen, epoch: sync.epoch } : undefined;
      },
      log,
    });
    return startPeerServer({
      ...{ db, tls, log, port: XDB_PORTS.peer, secret: credentials.peerSecret, clone: donor },
      store: (socket, object) => serveStore(backups.own(), socket, object),
      async position() {
        const { gen } = disk.now();
        const facts = last?.facts;
        const slave = facts?.slave;
        if (gen === null || facts === undefined || slave === undefined)
          throw new AppError('unavailable', 'this member does not follow anybody now');
        return { gen, boot: facts.instance, received: slave.ioGtid, from: slave.io === 'running' ? (slave.master ?? null) : null };
      },
    });
  }

  function routes(): AdminRoute[] {
    return [...backupRoutes(backups), ...ownRoutes()];
  }

  function ownRoutes(): AdminRoute[] {
    const own = memberRoutes({
      status: () => lastStatus,
      turn: () => last,
      sentences: () => sentences,
      alive: () => loop.alive() || cloning !== undefined,
      requests,
      disk,
      engine,
      metricsText: async (counters) => {
        if (lastStatus === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
        return metrics.text({
          status: lastStatus,
          sync: last?.view?.protocol.sync?.value,
          local: last?.local,
          facts: last?.facts,
          heartbeatMs: heartbeat.lastMs(),
          consulReachable: turner.consulReachable(),
          endpointLive: endpoint.live(),
          engine: counters,
        });
      },
      onRequest: dirty,
    });
    return [...own, ...userRoutes({ users, credentials, writes, leader: () => last?.view?.protocol.sync?.value.leader.id })];
  }

  return {
    async stop(keep) {
      stopping.abort();
      clearTimeout(busyTimer);
      admin.close();
      admin.closeAllConnections();
      diskGuard.stop();
      await Promise.all([
        loop.stop(),
        backups.stop(),
        watch.stop(),
        positions.stop(),
        heartbeat.stop(),
        peerServer.stop(),
        endpoint.stop(),
      ]);
      await session.stop(keep);
      tools.link.drop();
      consul.close();
      lock.close();
    },
  };
}

/** Calls on when the text differs from the one before. */
function noteChange(onChange: () => void): (text: string) => void {
  let before: string | undefined;
  return (text) => {
    if (text === before) return;
    before = text;
    onChange();
  };
}

/** What ends without anybody telling is looked after more often. */
function isUnderWay(turn: Turn | undefined): boolean {
  if (turn === undefined) return false;
  const { engine } = turn.local;
  const sync = turn.view?.protocol.sync?.value;
  if (engine.state === 'starting' || engine.state === 'unreachable') return true;
  if (engine.state === 'running' && engine.waiters > 0 && engine.waitAgeMs > 500) return true;
  return sync?.state === 'promoting' || sync?.cand != null || turn.view?.protocol.move !== undefined || turn.local.stopping !== undefined;
}

/** Without a token Consul refuses everything, which harms nothing; the file may come later. */
async function readToken(path: string): Promise<string | undefined> {
  const text = ((await readIfThere(path).catch(() => undefined)) ?? '').trim();
  return text === '' ? undefined : text;
}
