import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { createControlMetrics } from '#api/metrics.ts';
import { listen } from '#api/server.ts';
import { createConsul } from '#core/consul/client.ts';
import { AppError, toAppError } from '#core/errors.ts';
import { isRecord } from '#core/http.ts';
import { holdLeaderLock, type Leadership } from '#core/lock.ts';
import { createLogger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import { hostPaths } from '#core/paths.ts';
import { waitFor } from '#core/sleep.ts';
import { VERSION } from '#core/version.ts';
import { ensureCertificates, tlsMaterial } from '#ground/cert-rotation.ts';
import { readConsulConfig } from '#ground/consul-config.ts';
import { readHostRecord } from '#ground/host-record.ts';
import { createJoinToken } from '#ground/join.ts';
import { parsePoolKey } from '#ground/seal.ts';
import { scheduleSnapshots } from '#ground/snapshots.ts';
import { createAgents } from '#pool/agent-client.ts';
import { poolDuties } from '#pool/duties.ts';
import { createEvents } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import { listHosts } from '#pool/hosts.ts';
import { ensureImage, findAppliance, resolveImage } from '#pool/images.ts';
import { joinImages } from '#pool/join-images.ts';
import { createObjectLoops, type ObjectLoops } from '#pool/object-loops.ts';
import { worthALook as cacheChange, reconcileCache } from '#xcache/controller.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { cachesInUse } from '#xcache/operations/in-use.ts';
import { createCacheStore } from '#xcache/store.ts';
import { worthALook as dbChange, reconcileDb } from '#xdb/controller.ts';
import { inspectUpstream } from '#xdb/engine/mariadb/upstream/inspect.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { dbsInUse } from '#xdb/operations/in-use.ts';
import { createDbStore } from '#xdb/store.ts';
import { reconcileLb } from '#xlb/controller.ts';
import { lbsInUse } from '#xlb/operations/in-use.ts';
import { createLbStore } from '#xlb/store.ts';

/** `control.mjs`: the API and the controllers. Any number of replicas run; the one that holds the lock acts. */

const LEADER_KEY = 'xcaas/control/leader';
const Leader = z.object({ v: z.literal(1), host: z.string(), address: z.string() });

const log = createLogger({ name: 'control' });
const paths = hostPaths(process.env.XCAAS_ROOT ?? '');
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());

async function main(): Promise<void> {
  const self = await readHostRecord(paths.hostFile);
  if (self === undefined) throw new AppError('not_found', `${paths.hostFile} is missing`, { hint: './xcaas up makes it' });
  await ensureCertificates(paths, self);
  const tls = await tlsMaterial(paths, 'control', { log });
  const poolKeyText = await readFile(paths.poolKey, 'utf8');
  const poolKey = parsePoolKey(poolKeyText);
  const caKey = await readFile(join(paths.pki, 'ca.key'), 'utf8');
  const gossipKey = (await readConsulConfig(paths))?.gossipKey;
  if (gossipKey === undefined) throw new AppError('not_found', `${paths.consulConfig} holds no gossip key`, { hint: './xcaas up' });
  const token = (await readFile(join(paths.tokens, 'control'), 'utf8')).trim();
  const consul = createConsul({ socketPath: paths.consulSocket, token });

  let leadership: Leadership | undefined;
  let loops: Record<'lb' | 'db' | 'cache', ObjectLoops> | undefined;
  const now = () => new Date();
  const hosts = () => listHosts(consul, { log });
  const agent = createAgents({
    tls: () => tls.current(),
    fence() {
      leadership?.check();
      return leadership?.fence;
    },
  });
  const events = createEvents({ consul, log });
  const store = createLbStore(consul);
  const ownHost = async () => {
    const host = (await hosts()).find((candidate) => candidate.spec.id === self.id);
    if (host === undefined) throw new AppError('unavailable', `the host ${self.name} is not of the pool any longer`);
    return host;
  };
  const dbStore = createDbStore(consul);
  const cacheStore = createCacheStore(consul);
  const services = async () => (await Promise.all([lbsInUse(store), dbsInUse(dbStore), cachesInUse(cacheStore)])).flat();
  const lb = { store, log, hosts, agent, events, services, poolKey, now, markDirty: (name: string) => loops?.lb.markDirty(name) };
  const applianceImage = (appliance: string) => async (ref: string | undefined) => {
    // The host that leads first: it has the built-in one.
    const own = await ownHost();
    const others = (await hosts()).filter((host) => host.spec.id !== own.spec.id);
    return findAppliance({ agent }, { ref: ref ?? `xcaas/${appliance}:${VERSION}`, appliance, hosts: [own, ...others] });
  };
  const caCert = () => tls.current().ca;
  const db: DbDeps = {
    ...lb,
    store: dbStore,
    inspectMaster: (master) => inspectUpstream({ ...master, caFile: undefined }),
    caCert,
    image: applianceImage('xdb'),
    markDirty: (name) => loops?.db.markDirty(name),
  };
  const cache: CacheDeps = {
    ...lb,
    store: cacheStore,
    caCert,
    image: applianceImage('xcache'),
    markDirty: (name) => loops?.cache.markDirty(name),
  };
  const acting = {
    expectLead() {
      if (leadership === undefined) throw new AppError('fenced', 'this control replica leads no longer');
      leadership.check();
    },
    ensureImage: async (host: Host, id: string) => {
      await ensureImage({ agent }, { id, host, hosts: await hosts() });
    },
  };
  const lbController = {
    ...lb,
    ...acting,
    image: async () => (await resolveImage({ agent }, await ownHost(), `xcaas/xlb:${VERSION}`)).id,
  };
  const authority = { cert: tls.current().ca, key: caKey };
  const dbController = { ...db, ...acting, ca: authority };
  const cacheController = { ...cache, ...acting, ca: authority };
  const swarm = async () => {
    const { manager, workerToken } = await agent(await swarmManager(await hosts(), self.id)).swarm();
    return { manager, token: workerToken };
  };
  const metrics = createControlMetrics({
    leading: () => leadership !== undefined,
    hosts,
    loops: () => ({ ...loops?.lb.states(), ...loops?.db.states(), ...loops?.cache.states() }),
  });
  const apiDeps: ApiDeps = {
    metrics,
    consul,
    log,
    version: VERSION,
    hosts,
    agent,
    lb,
    db,
    cache,
    now,
    leading: () => leadership !== undefined,
    async leader() {
      const entry = await consul.kv.get(LEADER_KEY);
      const parsed = entry?.session === undefined ? undefined : Leader.safeParse(JSON.parse(entry.value));
      return parsed?.success ? parsed.data.host : undefined;
    },
    async joinToken() {
      const managers = (await hosts()).filter((host) => host.spec.manager).map((host) => host.spec.address);
      const addresses = [self.address, ...managers.filter((address) => address !== self.address)].map((address) => `${address}:7402`);
      return createJoinToken(consul, { addresses, ca: tls.current().ca }, now());
    },
  };
  const server = await listen({
    address: self.address,
    tls,
    api: apiDeps,
    ground: { consul, ca: authority, gossipKey, swarm, poolKey: poolKeyText.trim(), images: joinImages({ agent, ownHost, tls }), log, now },
  });
  log.info({ address: self.address, version: VERSION }, 'control listens');

  const endSnapshots = scheduleSnapshots({ socketPath: paths.consulSocket, token, folder: paths.snapshots }, log);

  await holdLeaderLock({
    consul,
    key: LEADER_KEY,
    value: JSON.stringify({ v: 1, host: self.name, address: self.address }),
    name: `control on ${self.name}`,
    log,
    signal: stopping.signal,
    // A leader whose host died is replaced after up to twice this, and Consul counts anew when its own leader died with it.
    ttlSeconds: 7,
    async lead(lead) {
      leadership = lead;
      const common = { consul, log, intervalMs: 10_000, signal: lead.signal };
      const lbs = createObjectLoops({ ...common, kind: 'lb', cycle: (name, signal) => reconcileLb(lbController, name, signal) });
      const dbs = createObjectLoops({
        ...{ ...common, kind: 'db', worth: dbChange },
        cycle: (name, signal) => reconcileDb(dbController, name, signal),
      });
      const caches = createObjectLoops({
        ...{ ...common, kind: 'cache', worth: cacheChange },
        cycle: (name, signal) => reconcileCache(cacheController, name, signal),
      });
      loops = { lb: lbs, db: dbs, cache: caches };
      const duties = createLoop({ name: 'pool', log, intervalMs: 5000, cycle: () => poolDuties({ consul, log, events, hosts, agent }) });
      duties.start();
      try {
        await Promise.all([lbs.run(), dbs.run(), caches.run()]);
      } finally {
        leadership = undefined;
        await duties.stop();
      }
    },
  });
  endSnapshots();
  await server.close();
  tls.stop();
  consul.close();
}

/** This host's own agent when its engine is a Swarm manager, else another one's that is. */
async function swarmManager(hosts: Host[], self: string): Promise<Host> {
  const managers = hosts.filter((host) => host.alive && host.facts?.swarmManager);
  const chosen = managers.find((host) => host.spec.id === self) ?? managers[0];
  if (chosen === undefined)
    throw new AppError('unavailable', 'no host of the pool that answers is a manager of the Swarm', { hint: 'xcaas nodes' });
  return chosen;
}

// A control that cannot start yet (no Consul, no certificate) is started again by the engine; it says why and leaves.
const started = await waitFor(() => main().then(() => true), { timeoutMs: 0 }).catch((thrown: unknown) => {
  const error = toAppError(thrown);
  log.fatal({ err: isRecord(thrown) ? error : String(thrown), hint: error.hint }, 'control cannot go on');
  return false;
});
process.exit(started === true ? 0 : 1);
