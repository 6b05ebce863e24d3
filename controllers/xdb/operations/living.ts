import type { Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import { keptSentence } from '#pool/service-destroyed.ts';
import { type DbRecords, readDb } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { memberIds } from '#xdb/spec.ts';

/** The specification of a database that is there and stays. @throws AppError `not_found`, also for one that was destroyed, saying how to get it back */
export async function livingSpec(deps: DbDeps, name: string): Promise<Stored<DbSpec>> {
  const found = await deps.store.spec(name);
  refuseDestroyed(found.value);
  return found;
}

/** All its records, of one moment. */
export async function livingRecords(deps: DbDeps, name: string): Promise<DbRecords> {
  await livingSpec(deps, name);
  const records = await readDb(deps, name);
  if (records === undefined) throw new AppError('not_found', `there is no database ${JSON.stringify(name)}`);
  return records;
}

export function refuseDestroyed(spec: DbSpec): void {
  if (spec.destroyed === undefined) return;
  const hint = spec.destroyed.purge
    ? {}
    : { hint: `db undestroy ${spec.name} brings it back, db destroy ${spec.name} --purge lets its data go` };
  throw new AppError('not_found', keptSentence(spec), hint);
}

/** @throws AppError `not_found` naming the members there are */
export function expectMember(spec: DbSpec, member: string): void {
  if (memberIds(spec).includes(member)) return;
  throw new AppError('not_found', `${spec.name} has no member ${JSON.stringify(member.slice(0, 60))}`, {
    hint: `it has ${memberIds(spec).join(', ')}`,
  });
}

/** Asks the sidecar of a member, by way of its host's agent. @throws AppError `unavailable` when the member is not there */
export async function askMember(
  deps: DbDeps,
  records: Pick<DbRecords, 'sidecars' | 'spec'>,
  member: string,
  { method, path, body, timeoutMs }: { method: string; path: string; body?: unknown; timeoutMs?: number },
): Promise<unknown> {
  const host = await hostOfMember(deps, records, member);
  return deps.agent(host).memberAdmin(member, method, path, body, timeoutMs === undefined ? {} : { timeoutMs });
}

export async function hostOfMember(deps: DbDeps, { sidecars }: Pick<DbRecords, 'sidecars'>, member: string): Promise<Host> {
  const node = sidecars.find((status) => status.member === member)?.node;
  const host = (await deps.hosts()).find((candidate) => candidate.spec.name === node);
  if (host === undefined) throw new AppError('unavailable', `${member} does not run, or cannot reach Consul`, { hint: 'xcaas nodes' });
  return host;
}

/** The member that takes writes, by the record. @throws AppError `unavailable` */
export function leaderOf({ sync, spec }: Pick<DbRecords, 'sync' | 'spec'>): string {
  if (sync !== undefined && sync.state === 'open') return sync.leader.id;
  const why = sync === undefined ? 'it is being made' : `${sync.leader.id} is taking over`;
  throw new AppError('unavailable', `nobody leads ${spec.value.name} at the moment: ${why}`, { hint: `db status ${spec.value.name}` });
}
