import { AppError } from '#core/errors.ts';
import { askMember, expectMember } from '#pool/service-living.ts';
import type { CacheRecords } from '#xcache/observe.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { livingRecords } from '#xcache/operations/living.ts';
import type { KeyReport, SlowCommand } from '#xcache/sidecar/reports.ts';

/** What one member says of its commands and keys. In a cluster each member holds other keys: it is to be named. */

export interface KeysAsked {
  member?: string | undefined;
  limit?: number | undefined;
  seconds?: number | undefined;
  from?: string | undefined;
}

export async function reportSlowLog(
  deps: CacheDeps,
  name: string,
  { member, count }: { member?: string | undefined; count?: number | undefined },
) {
  const records = await livingRecords(deps, name);
  const at = chosen(records, member, 'master');
  const answer = await ask(deps, records, at, '/report/slow-log', { count });
  return { member: at, ...(answer as { commands: SlowCommand[] }) };
}

/** Looked for at a replica, where there is one, so that the master is left alone. */
export async function reportBigKeys(deps: CacheDeps, name: string, { member, ...query }: KeysAsked) {
  const records = await livingRecords(deps, name);
  const at = chosen(records, member, 'replica');
  return { member: at, ...((await ask(deps, records, at, '/report/big-keys', query)) as KeyReport) };
}

/** At the master: a replica counts only what it is read itself. */
export async function reportHotKeys(deps: CacheDeps, name: string, { member, ...query }: KeysAsked) {
  const records = await livingRecords(deps, name);
  const at = chosen(records, member, 'master');
  return { member: at, ...((await ask(deps, records, at, '/report/hot-keys', query)) as KeyReport) };
}

function chosen({ spec: { value: spec }, sidecars }: CacheRecords, member: string | undefined, role: 'master' | 'replica'): string {
  if (member !== undefined) {
    expectMember(spec, member);
    return member;
  }
  if (spec.mode === 'cluster')
    throw new AppError('usage', `each member of ${spec.name} holds other keys`, { hint: `name one: --member ${spec.members[0]?.id}` });
  const running = sidecars.filter(({ state }) => state === 'running');
  const found = running.find((each) => each.role === role) ?? running[0];
  if (found === undefined) throw new AppError('unavailable', `no member of ${spec.name} runs`, { hint: `cache status ${spec.name}` });
  return found.member;
}

function ask(deps: CacheDeps, records: CacheRecords, member: string, path: string, query: object): Promise<unknown> {
  const given = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)] as [string, string]]));
  return askMember(deps, records, member, { method: 'GET', path: `${path}?${new URLSearchParams(given)}`, timeoutMs: 45_000 });
}
