import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import type { ImageReport, NetworkAnswer, VolumeReport } from '#pool/agent-api.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { createEvents } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import { findAppliance } from '#pool/images.ts';
import { placementKey } from '#pool/placement-record.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { createDb } from '#xdb/operations/create.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { dbsInUse } from '#xdb/operations/in-use.ts';
import type { MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { createDbStore, dbKeys } from '#xdb/store.ts';
import { createFakeKv } from './fake-kv.ts';
import { host, NOW, placement, sidecar, sync } from './xdb-world.ts';

/** The API's operations on databases over a Consul in memory, for unit tests. */

const image = (tag: string, appliance?: string): ImageReport => ({
  id: `sha256:${tag.length.toString(16).repeat(64).slice(0, 64)}`,
  tags: [tag],
  sizeBytes: 1,
  labels: appliance === undefined ? {} : { 'xcaas.appliance': appliance },
});

export interface Asked {
  member: string;
  method: string;
  path: string;
}

interface WorldOptions {
  hosts?: Host[];
  services?: ServiceInUse[];
  volumes?: VolumeReport[];
  images?: ImageReport[];
  /** What an outside server says of itself; nobody answers if not given. */
  master?: DbDeps['inspectMaster'];
  /** What sidecars answer; `{}` if not given. */
  admin?: (request: Asked & { body: unknown }) => unknown;
}

/** Databases over a Consul in memory; agents answer what they are told here. */
export async function operationsWorld(change: WorldOptions = {}) {
  const kv = createFakeKv();
  const consul = kv as unknown as ConsulClient;
  const store = createDbStore(consul);
  const log = silentLogger();
  const hosts = change.hosts ?? [host(1), host(2), host(3)];
  hosts[0]!.facts!.swarmManager = true;
  for (const each of hosts) {
    await kv.kv.put(`xcaas/hosts/${each.spec.id}/spec`, JSON.stringify(each.spec));
  }
  const asked: Asked[] = [];
  const agent: Partial<AgentClient> = {
    network: async (name) => {
      if (name === 'gone') throw new AppError('not_found', 'there is no network gone');
      return { name, driver: name === 'lan' ? 'bridge' : 'overlay', attachable: name !== 'swarm' } as NetworkAnswer;
    },
    volumes: async () => change.volumes ?? [],
    images: async () => change.images ?? [image('xcaas/xdb:1', 'xdb'), image('nginx:latest'), image('xcaas/xlb:1234', 'xlb')],
    memberAdmin: async (member, method, path, body) => {
      asked.push({ member, method, path });
      return change.admin === undefined ? {} : change.admin({ member, method, path, body });
    },
  };
  const deps: DbDeps = {
    store,
    log,
    hosts: async () => hosts,
    agent: () => agent as AgentClient,
    events: createEvents({ consul, log }),
    services: async () => [...(change.services ?? []), ...(await dbsInUse(store))],
    image: (ref) => findAppliance({ agent: () => agent as AgentClient }, { ref: ref ?? 'xcaas/xdb:1', appliance: 'xdb', hosts }),
    inspectMaster: change.master ?? (() => Promise.reject(new AppError('unavailable', 'nobody is there'))),
    poolKey: Buffer.alloc(32, 1),
    caCert: () => 'CA',
    markDirty: () => undefined,
    now: () => NOW,
  };
  return { kv, store, deps, asked, hosts };
}
export type World = Awaited<ReturnType<typeof operationsWorld>>;

/** adb as it is when all is well. */
export async function living(made: World, change: { sync?: SyncRecord; sidecars?: MemberStatus[] } = {}): Promise<void> {
  const { kv, store, deps, hosts } = made;
  const spec = await createDb(deps, { name: 'adb' });
  const keys = dbKeys('adb');
  for (const [index, { id }] of spec.members.entries())
    await kv.kv.put(placementKey(id), JSON.stringify(placement(spec, id, hosts[index]!)));
  await store.syncs.cas(keys.sync, change.sync ?? sync('adb-1', 'adb-2'), 0);
  const session = await kv.session.create({ name: 's', ttlSeconds: 3, behavior: 'delete' });
  const said = change.sidecars ?? [sidecar('adb-1', 'master', { node: 'host-1' }), sidecar('adb-2', 'slave', { node: 'host-2' })];
  for (const status of said) await kv.kv.acquire(keys.member(status.member), JSON.stringify(status), session);
}
