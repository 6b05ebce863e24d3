import { AppError } from '#core/errors.ts';
import { placementKey } from '#pool/placement-record.ts';
import { createDb } from '#xdb/operations/create.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { dbsInUse } from '#xdb/operations/in-use.ts';
import type { MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { createDbStore, dbKeys } from '#xdb/store.ts';
import { type ServiceWorldOptions, serviceWorld } from './service-operations.ts';
import { host, NOW, placement, sidecar, sync } from './xdb-world.ts';

/** What an outside server says of itself; nobody answers if not given. */
type WorldOptions = Partial<Omit<ServiceWorldOptions, 'now'>> & { master?: DbDeps['inspectMaster'] };

/** Databases over a Consul in memory; agents answer what they are told here. */
export async function operationsWorld({ master, ...change }: WorldOptions = {}) {
  const hosts = change.hosts ?? [host(1), host(2), host(3)];
  const kind = { appliance: 'xdb', createStore: createDbStore, inUse: dbsInUse };
  const { deps: common, ...world } = await serviceWorld(kind, { ...change, hosts, now: () => NOW });
  const inspectMaster = master ?? (() => Promise.reject(new AppError('unavailable', 'nobody is there')));
  const deps: DbDeps = { ...common, inspectMaster };
  return { ...world, deps };
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
