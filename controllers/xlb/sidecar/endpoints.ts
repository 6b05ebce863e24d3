import type { ConsulClient } from '#core/consul/client.ts';
import { messageOf } from '#core/errors.ts';
import { parseJson } from '#core/json.ts';
import type { Logger } from '#core/log.ts';
import { createSaver, type Saver } from '#core/saver.ts';
import { type GroupTable, handService, type LbSpec, Target, type TargetGroup } from '#xlb/schema.ts';
import { createLane, createVersions, type Lane, type Sink } from './lane.ts';
import type { NginxClient, NginxWorker } from './nginx-client.ts';
import { groupKinds } from './routing.ts';
import { followService, type ServiceFollower } from './service.ts';
import { tableText } from './sinks.ts';
import type { ServiceMemory, Store } from './store.ts';
import { buildTable, contentHash, type Instance, type TableContent } from './table.ts';
import { probeAlive } from './tcp-probe.ts';

/** Follows the services of a load balancer and keeps the engines' tables equal to them. Nothing here ever reloads an engine. */
export interface Endpoints {
  /** What nginx and the disk hold from before. To be called once, before the first specification. */
  begin(): Promise<void>;
  setSpec(spec: LbSpec): Promise<void>;
  /** Compares what nginx holds with what it is to hold and pushes the difference: after nginx was started again. */
  resync(): Promise<void>;
  /** Removes groups that no rule leads to any more. To be called when the structure without them is live. */
  prune(): Promise<void>;
  /** Pushes the tables of all TCP groups again: their backends have just come into being. */
  retryTcp(): void;
  /** What TCP groups are to hold, for a structure that brings new ones. */
  tcpTables(): { content: TableContent; version: number }[];
  summary(): EndpointSummary;
  /** Peers as the tables name them, by group and id: what an engine that knows only addresses cannot say. */
  describe(group: string): Map<string, TableContent['peers'][number]>;
  stop(): void;
}

export interface EndpointSummary {
  groups: number;
  peers: number;
  up: number;
  /** Groups without a peer that is up. */
  emptyGroups: string[];
  /** Every table that is wanted is live. */
  settled: boolean;
  /** The same of those that nginx serves. */
  httpSettled: boolean;
  /** Answers of Consul that are not believed yet, services that cannot be read, tables that an engine refused. */
  notes: string[];
  /** The newest version that has become live on all workers; 0 when nothing is live. */
  liveVersion: number;
}

export interface EndpointsOptions {
  lb: string;
  consul: Pick<ConsulClient, 'request' | 'health' | 'kv'>;
  nginx: NginxClient;
  sinks: { http: Sink; tcp: Sink };
  store: Store;
  log: Logger;
  onChange(): void;
  now?: () => number;
  holdMs?: number;
  recheckMs?: number;
}

/** How long a new service may keep its group from being pushed while nothing is known of it, in milliseconds. */
const UNKNOWN_GRACE_MS = 3000;

interface Group {
  spec: TargetGroup;
  lanes: Lane[];
  /** The newest table, for questions. */
  content: TableContent | undefined;
  since: number;
  grace: NodeJS.Timeout | undefined;
}

export function createEndpoints(options: EndpointsOptions): Endpoints {
  const { lb, consul, nginx, sinks, store, log, now = Date.now } = options;
  const versions = createVersions();
  const services = new Map<string, ServiceFollower>();
  const groups = new Map<string, Group>();
  const savers = new Map<string, Saver<string>>();
  /** Tables of the time before this process: what nginx is known to run with. */
  let saved = new Map<string, GroupTable>();
  let inNginx = new Map<string, number>();

  async function begin(): Promise<void> {
    saved = await store.loadTables().catch((error: unknown) => {
      log.warn({ err: messageOf(error) }, 'the saved tables cannot be read');
      return new Map();
    });
    for (const table of saved.values()) versions.met(table.version);
    versions.met(await sinks.tcp.highestVersion().catch(() => 0));
    await look().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'nginx does not say yet what it holds'));
  }

  /** Reads the oldest version of each group over all workers of nginx. */
  async function look(): Promise<Map<string, number>> {
    inNginx = oldestVersions(await nginx.groups());
    for (const version of inNginx.values()) versions.met(version);
    return inNginx;
  }

  async function setSpec(spec: LbSpec): Promise<void> {
    const kinds = groupKinds(spec);
    const wanted = spec.groups.filter((group) => kinds.http.has(group.name) || kinds.tcp.has(group.name));
    const names = new Set(wanted.flatMap((group) => group.services));
    for (const [service, follower] of services) {
      if (names.has(service)) continue;
      follower.stop();
      services.delete(service);
    }
    for (const [name, group] of groups) {
      if (!wanted.some((other) => other.name === name)) drop(name, group);
    }
    const memories = new Map<string, ServiceMemory | undefined>();
    for (const service of names) if (!services.has(service)) memories.set(service, await priorOf(service, wanted));
    for (const group of wanted) {
      const kept = groups.get(group.name);
      const kind = { http: kinds.http.has(group.name), tcp: kinds.tcp.has(group.name) };
      const sinksOf = [...(kind.http ? [sinks.http] : []), ...(kind.tcp ? [sinks.tcp] : [])];
      const lanes = sinksOf.map((sink) => kept?.lanes.find((lane) => lane.sink === sink) ?? newLane(sink, group.name));
      for (const lane of kept?.lanes ?? []) if (!lanes.includes(lane)) lane.stop();
      const since = kept?.since ?? now();
      groups.set(group.name, { spec: group, lanes, content: kept?.content, since, grace: kept?.grace });
    }
    for (const [service, prior] of memories) services.set(service, follow(service, prior));
    for (const group of groups.values()) rebuild(group);
    await store.keepServices(names).catch(() => undefined);
  }

  function follow(service: string, prior: ServiceMemory | undefined): ServiceFollower {
    return followService({
      service,
      consul,
      prior,
      isRemoved: () => isRemoved(service),
      probe: (instances, signal) => probeAlive(instances, undefined, signal),
      onChange: () => {
        for (const group of groups.values()) if (group.spec.services.includes(service)) rebuild(group);
        options.onChange();
      },
      save: (memory) => store.saveService(memory),
      log,
      now,
      ...(options.holdMs === undefined ? {} : { holdMs: options.holdMs }),
      ...(options.recheckMs === undefined ? {} : { recheckMs: options.recheckMs }),
    });
  }

  /** What was believed of a service: its own memory, or, when that is lost, the table of a group that has it alone. */
  async function priorOf(service: string, wanted: readonly TargetGroup[]): Promise<ServiceMemory | undefined> {
    const memory = await store.loadService(service);
    if (memory !== undefined) return memory;
    const alone = wanted.find((group) => group.services.length === 1 && group.services[0] === service);
    const table = alone === undefined ? undefined : saved.get(alone.name);
    if (table === undefined || table.peers.length === 0) return undefined;
    return { v: 1, service, instances: table.peers.map((peer): Instance => ({ ...peer, silent: false, unweighted: false })) };
  }

  /** True when a service of targets that were added by hand has no target left in the records. */
  async function isRemoved(service: string): Promise<boolean> {
    const group = [...groups.values()].find(({ spec }) => handService(lb, spec.name) === service)?.spec.name;
    if (group === undefined) return false;
    const targets = await consul.kv.list(`xcaas/targets/${lb}/`, { consistent: true });
    return !targets.some((entry) => Target.safeParse(parseJson(entry.value)).data?.group === group);
  }

  function newLane(sink: Sink, name: string): Lane {
    const table = sink === sinks.http ? saved.get(name) : undefined;
    const isLive = table !== undefined && inNginx.get(name) === table.version;
    return createLane({
      sink,
      versions,
      live: isLive ? { version: table.version, hash: hashOf(table) } : undefined,
      onLive(content, version) {
        if (sink !== sinks.http) return;
        const saver = savers.get(name) ?? createSaver({ what: `the table of ${name}`, write: (text) => store.saveTable(name, text), log });
        savers.set(name, saver);
        saver.save(tableText(content, version));
      },
      onChange: options.onChange,
    });
  }

  function rebuild(group: Group): void {
    const followed = group.spec.services.map((service) => services.get(service));
    const unknown = followed.some((follower) => follower !== undefined && follower.instances() === undefined);
    const wait = group.since + UNKNOWN_GRACE_MS - now();
    if (unknown && wait > 0) {
      group.grace ??= setTimeout(() => {
        group.grace = undefined;
        const present = groups.get(group.spec.name);
        if (present !== undefined) rebuild(present);
      }, wait);
      return;
    }
    const { content, hash } = buildTable(
      group.spec,
      followed.map((follower) => follower?.instances() ?? []),
    );
    group.content = content;
    for (const lane of group.lanes) lane.offer(content, hash);
  }

  function drop(name: string, group: Group): void {
    for (const lane of group.lanes) lane.stop();
    clearTimeout(group.grace);
    groups.delete(name);
  }

  async function resync(): Promise<void> {
    const held = await look();
    for (const [name, group] of groups) {
      for (const lane of group.lanes) {
        if (lane.sink === sinks.http && lane.live() !== undefined && held.get(name) !== lane.live()?.version) lane.invalidate();
      }
    }
  }

  async function prune(): Promise<void> {
    const isServed = (name: string) => groups.get(name)?.lanes.some((lane) => lane.sink === sinks.http) ?? false;
    for (const name of new Set([...inNginx.keys(), ...saved.keys(), ...savers.keys()])) {
      if (isServed(name)) continue;
      await nginx.deleteGroup(name);
      await store.deleteTable(name);
      inNginx.delete(name);
      saved.delete(name);
      savers.get(name)?.stop();
      savers.delete(name);
    }
  }

  function summary(): EndpointSummary {
    const all = [...groups.values()];
    const lanes = all.flatMap((group) => group.lanes);
    const peers = all.flatMap((group) => group.content?.peers ?? []);
    const isUp = (peer: TableContent['peers'][number]) => peer.state === 'up';
    const notes: string[] = [];
    for (const follower of services.values()) {
      const held = follower.held();
      if (held !== undefined) notes.push(held);
      notes.push(...follower.unusable().slice(0, 1));
    }
    for (const lane of lanes) if (lane.error() !== undefined) notes.push(lane.error()?.message ?? '');
    for (const saver of savers.values()) {
      const trouble = saver.trouble();
      if (trouble !== undefined) notes.push(trouble);
    }
    const live = lanes.map((lane) => lane.live()?.version ?? 0);
    return {
      groups: all.length,
      peers: peers.length,
      up: peers.filter(isUp).length,
      emptyGroups: all.filter((group) => !(group.content?.peers ?? []).some(isUp)).map((group) => group.spec.name),
      settled: lanes.every(isSettled),
      httpSettled: lanes.filter((lane) => lane.sink === sinks.http).every(isSettled),
      notes: [...new Set(notes)],
      liveVersion: live.length === 0 ? 0 : Math.max(...live),
    };
  }

  return {
    begin,
    setSpec,
    resync,
    prune,
    retryTcp() {
      for (const { lanes } of groups.values()) for (const lane of lanes) if (lane.sink === sinks.tcp) lane.invalidate();
    },
    tcpTables() {
      return [...groups.values()].flatMap(({ content, lanes }) =>
        content !== undefined && lanes.some((lane) => lane.sink === sinks.tcp) ? [{ content, version: versions.next() }] : [],
      );
    },
    summary,
    describe: (group) => new Map((groups.get(group)?.content?.peers ?? []).map((peer) => [peer.id, peer])),
    stop() {
      for (const follower of services.values()) follower.stop();
      for (const [name, group] of groups) drop(name, group);
      for (const saver of savers.values()) saver.stop();
    },
  };
}

/** The oldest version of each group over all workers that take requests; a group that one of them lacks is not there. */
function oldestVersions(workers: readonly NginxWorker[]): Map<string, number> {
  const oldest = new Map<string, number>();
  const counts = new Map<string, number>();
  const serving = workers.filter((worker) => !worker.leaving);
  for (const { groups } of serving) {
    for (const [name, { version }] of Object.entries(groups)) {
      oldest.set(name, Math.min(version, oldest.get(name) ?? version));
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  for (const [name, count] of counts) if (count < serving.length) oldest.delete(name);
  return oldest;
}

function isSettled(lane: Lane): boolean {
  return lane.wantedHash() !== undefined && lane.live()?.hash === lane.wantedHash();
}

function hashOf(table: GroupTable): string {
  const { version: _, ...content } = table;
  return contentHash(content);
}
