import { mkdir } from 'node:fs/promises';
import { createConsul, parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { readIfThere } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import { createQueue } from '#core/queue.ts';
import { serveAdmin } from '#member/admin.ts';
import { createCredentials } from '#member/credentials.ts';
import { startEndpoint } from '#member/endpoint.ts';
import { holdInstanceLock } from '#member/instance-lock.ts';
import { ownAddress } from '#member/own-address.ts';
import { createSecondView } from '#member/second-view.ts';
import { keepSession } from '#member/session.ts';
import type { Supervisor } from '#member/supervisor.ts';
import { watchLeader } from '#member/watch-leader.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { Engine, UserAdmin } from '#xdb/engine/engine.ts';
import { peerSecretOf } from '#xdb/peer-secret.ts';
import { BUDGETS } from '#xdb/protocol/types.ts';
import { Credentials, type MemberStatus } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import { keepAccounts } from './accounts.ts';
import { createAcked } from './acked.ts';
import { createAfterTurn } from './after-turn.ts';
import { backupRoutes, createBackups } from './backups.ts';
import { createRecipient } from './clone-client.ts';
import { type SidecarConfig, XDB_PORTS } from './config.ts';
import { guardDisk } from './disk-guard.ts';
import { createEngineLink } from './engine-link.ts';
import type { Tools } from './execute/context.ts';
import { createFailpoints } from './failpoint.ts';
import { readGuards } from './guards.ts';
import { createHeartbeat } from './heartbeat.ts';
import { createKnownAddresses } from './known-addresses.ts';
import { createMetrics } from './metrics.ts';
import { createObserver } from './observe.ts';
import { openOwnDisk } from './own-disk.ts';
import { startOwnPeers } from './own-peers.ts';
import { PACE, paceOf } from './pace.ts';
import { keepParameters } from './parameters.ts';
import { partOf } from './part.ts';
import { createPeerClient } from './peer-client.ts';
import { followPositions } from './positions.ts';
import { probeEngine } from './probe-engine.ts';
import { decisive } from './records.ts';
import { createReporter } from './reporter.ts';
import { createRequests } from './requests.ts';
import { createOriginRestorer } from './restore-origin.ts';
import { memberRoutes } from './routes.ts';
import { stillOf } from './status.ts';
import { createRecordWriter } from './transaction.ts';
import { createTurner } from './turn.ts';
import { createUpstreamCopier } from './upstream.ts';
import { upstreamRoutes } from './upstream-routes.ts';
import { userRoutes } from './user-routes.ts';

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

/** Between two looks at files, in milliseconds. */
const SLOW_MS = 5000;

/** Wires the parts of a member's sidecar and lets them run. What each does stands in its own file. */
export async function startSidecar(deps: SidecarDeps): Promise<Sidecar> {
  const { config, tcp, log } = deps;
  const { db, member, node, paths } = config;
  const keys = dbKeys(db);
  const stopping = new AbortController();
  const failpoints = createFailpoints(config.test.failpoints);
  const { guards } = readGuards(config.test.guards);
  if (Object.values(config.test).some((word) => word !== '')) log.warn(config.test, 'this member is under test: it is not safe');

  await mkdir(paths.state, { recursive: true });
  const lock = await holdInstanceLock(paths.lock);
  const credentials = createCredentials(paths.credentials, log, Credentials);
  await credentials.refresh();
  const { engine, users } = deps.engine(() => credentials.current()?.agent);
  const disk = await openOwnDisk(config, engine, failpoints, log);
  const token = await readToken(paths.consulToken);
  const consul = createConsul({ socketPath: paths.consulSocket, ...(token === undefined ? {} : { token }) });
  const endpoint = await startEndpoint({ driver: tcp, path: paths.endpoint, log, ports: XDB_PORTS });
  const requests = createRequests();
  const metrics = createMetrics();
  let address = (await ownAddress()) ?? '127.0.0.1';
  let ended = false;
  let lookTimer: NodeJS.Timeout | undefined;

  const dirty = () => loop.markDirty();
  const supervisor = deps.connectSupervisor(() => {
    const term = supervisor.term();
    if (term !== undefined) requests.leave(term.at);
    dirty();
  });
  const tls = { ca: paths.ca, certificate: paths.certificate, privateKey: paths.privateKey };
  const secret = () => {
    const known = credentials.current();
    return known === undefined ? undefined : peerSecretOf(known);
  };
  const peers = createPeerClient({ db, member, tls, secret });
  const addresses = createKnownAddresses(endpoint.current(), { member, address: () => address });
  const heartbeat = createHeartbeat({ engine, log });
  const session = keepSession<MemberStatus>({
    ...{ consul, key: keys.member(member), lockKey: keys.leader, member, log, onChange: dirty },
    ...{ name: `db ${member}`, stillOf },
  });
  const usersInTurn = createQueue();
  const accounts = keepAccounts({ users, inTurn: usersInTurn, known: () => credentials.current()?.users, log });
  const parameters = keepParameters({ engine, log, onChange: () => reporter.tell() });
  const positions = followPositions(peers, dirty);
  const diskGuard = guardDisk({
    path: paths.state,
    reserve: paths.reserve,
    diskBytes: () => reporter.last()?.view?.spec.value.diskBytes,
    onChange: dirty,
  });
  const watch = watchLeader({
    probe: (target, timeoutMs) => probeEngine(target.address, target.port, timeoutMs),
    secondView: createSecondView({ consul, agentSocket: paths.agentSocket, node }),
    onChange: dirty,
    // Each look is a new connection to its engine: a sixth of what a sidecar at rest costs, were it twice as often.
    everyMs: 1000,
  });
  const reporter = createReporter({
    member,
    node,
    address: () => address,
    disk,
    diskGuard,
    parameters,
    session,
    log,
    archive: () => backups.archive(),
  });
  const afterTurn = createAfterTurn({
    ...{ member, addresses, endpoint, heartbeat, accounts, parameters, watch, positions, session, credentials, log },
    address: () => address,
    acked: createAcked({ consul, db, heartbeat, log }),
  });
  const tools: Tools = {
    ...{ config, engine, supervisor, disk, session, heartbeat, consul, credentials, failpoints, log },
    link: createEngineLink(engine, log),
    write: createRecordWriter({ consul, db, member, failpoints }),
    takeClone: createRecipient({ engine, peers, log }),
    restoreOrigin: createOriginRestorer({ config, engine, consul, credentials, log }),
    copyUpstream: createUpstreamCopier({ config, engine, credentials, log }),
    onClone: reporter.cloning,
    onFailedCopy: reporter.failed,
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
    onDecided(turn) {
      afterTurn(turn);
      reporter.decided(turn);
    },
  });

  let slowAt = Number.NEGATIVE_INFINITY;
  async function cycle(): Promise<string> {
    if (ended) return 'the member has ended';
    if (performance.now() - slowAt >= SLOW_MS) {
      slowAt = performance.now();
      await lookAtFiles();
    }
    const { step, outcome } = await turner.turn();
    if (outcome?.is === 'done') dirty();
    else lookIn(outcome === undefined ? pace() : PACE.underWay);
    return reporter.status()?.sentence ?? step.reason;
  }

  let acknowledged: number | undefined;
  function pace(): number {
    const turn = reporter.last();
    const before = acknowledged;
    acknowledged = turn?.facts?.acknowledged;
    return turn === undefined ? PACE.work : paceOf(turn, before);
  }

  /** Sooner than the loop would by itself. */
  function lookIn(ms: number): void {
    clearTimeout(lookTimer);
    lookTimer = ms < PACE.rest ? setTimeout(dirty, ms) : undefined;
  }

  async function lookAtFiles(): Promise<void> {
    if ((await readToken(paths.consulToken)) !== token) deps.onStale();
    await credentials.refresh();
    address = (await ownAddress()) ?? address;
  }

  const loop = createLoop({ name: member, log: log.child({}, { level: 'warn' }), intervalMs: PACE.rest, cycle });
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
    ...{ config, engine, engineAt: deps.engineAt, consul, credentials, peers, log, last: reporter.last },
    addressOf: (id) => addresses.of(id)?.address,
  });
  const peerServer = startOwnPeers({ config, tls, engine, secret, disk, backups, last: reporter.last, log });
  const admin = await serveAdmin(paths.admin, [
    ...backupRoutes(backups),
    ...memberRoutes({
      ...{ reporter, requests, disk, engine, metrics, onRequest: dirty },
      alive: () => loop.alive() || reporter.isCloning(),
      also: () => ({
        heartbeatMs: heartbeat.lastMs(),
        consulReachable: turner.consulReachable(),
        endpointLive: endpoint.live(),
        backups: backups.figures(),
      }),
    }),
    ...upstreamRoutes({ config, engine, credentials, last: reporter.last }),
    ...userRoutes({
      ...{ users, inTurn: usersInTurn, credentials },
      writes: () => partOf(reporter.last()).writes !== undefined,
      leader: () => partOf(reporter.last()).sync?.leader.id,
    }),
  ]);
  loop.start();
  backups.start();
  log.info({ db, member, address, gen: disk.now().gen, wasMaster: disk.now().wasMaster, epoch: disk.now().epoch }, 'sidecar started');

  return {
    async stop(keep) {
      stopping.abort();
      clearTimeout(lookTimer);
      admin.close();
      admin.closeAllConnections();
      diskGuard.stop();
      await loop.stop();
      const others = [backups, watch, positions, heartbeat, accounts, parameters, peerServer, endpoint];
      // The session is given up at once: what others wait for may hang.
      await Promise.all([session.stop(keep), ...others.map((one) => one.stop())]);
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

/** Without a token Consul refuses everything, which harms nothing; the file may come later. */
async function readToken(path: string): Promise<string | undefined> {
  const text = ((await readIfThere(path).catch(() => undefined)) ?? '').trim();
  return text === '' ? undefined : text;
}
