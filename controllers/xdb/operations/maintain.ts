import { AppError } from '#core/errors.ts';
import { listPlacements } from '#pool/placement-record.ts';
import { resized } from '#pool/placements.ts';
import { pauseUntil } from '#pool/service-changes.ts';
import { askMember, expectMember } from '#pool/service-living.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingRecords, livingSpec } from '#xdb/operations/living.ts';
import { validateParameters } from '#xdb/parameters.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { memberIds, refuseUnfit } from '#xdb/spec.ts';

/** Restarts the engine of one member at once, or of all, one after another: the slave first, and the master when it has handed over. */
export async function restartDb(deps: DbDeps, name: string, member: string | undefined): Promise<{ sentence: string }> {
  const records = await livingRecords(deps, name);
  if (member === undefined) {
    await change(deps, name, 'restart', `the engines of ${name} are to be restarted, one after another`, (spec) => ({
      ...spec,
      restartSerial: spec.restartSerial + 1,
    }));
    return { sentence: `the engines of ${name} are restarted, one after another` };
  }
  expectMember(records.spec.value, member);
  await askMember(deps, records, member, { method: 'POST', path: '/restart-engine', body: {} });
  const sentence = `the engine of ${member} is restarted`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'restart', sentence });
  return { sentence };
}

/** Throws the copy of a slave away and makes it anew from the master. @throws AppError `conflict` for the member that leads */
export async function reinitMember(deps: DbDeps, name: string, member: string): Promise<{ sentence: string }> {
  const records = await livingRecords(deps, name);
  expectMember(records.spec.value, member);
  const { sync } = records;
  if (sync === undefined || sync.state !== 'open' || sync.leader.id === member) {
    const why =
      sync?.leader.id === member
        ? `${member} leads: others are copied from it`
        : `nobody leads ${name} that ${member} could be copied from`;
    throw new AppError('conflict', why, { hint: sync?.leader.id === member ? `db switchover ${name}` : `db status ${name}` });
  }
  await askMember(deps, records, member, { method: 'POST', path: '/reinit', body: {} });
  const sentence = `${member} is made anew from ${sync.leader.id}`;
  await deps.events.record({ object: `db/${name}`, kind: 'warning', reason: 'reinit', sentence });
  deps.markDirty(name);
  return { sentence };
}

export interface Resize {
  cpus?: number | undefined;
  memoryBytes?: number | undefined;
  diskBytes?: number | undefined;
}

/**
 * Another size for every member. CPUs and memory go to the slave first, then there is a switchover, then to the old master; disk needs none of that.
 *
 * @throws AppError `no_host` naming what a member's host lacks, `conflict` when the disk would be smaller than what lies on it; then nothing is changed
 */
export async function resizeDb(deps: DbDeps, name: string, { cpus, memoryBytes, diskBytes }: Resize): Promise<DbSpec> {
  const records = await livingRecords(deps, name);
  const { value: present } = records.spec;
  const next: DbSpec = {
    ...present,
    cpus: cpus ?? present.cpus,
    memoryBytes: memoryBytes ?? present.memoryBytes,
    diskBytes: diskBytes ?? present.diskBytes,
  };
  refuseUnfit(next);
  validateParameters(next.parameters, next);
  if (next.diskBytes < present.diskBytes) {
    const fullest = Math.max(0, ...records.sidecars.map(({ disk }) => disk?.usedBytes ?? 0));
    if (next.diskBytes * 0.85 < fullest)
      throw new AppError('conflict', `${fullest} bytes lie on the disk of a member: ${next.diskBytes} would be too few`, {
        hint: `db status ${name}`,
      });
  }
  const [hosts, existing] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  for (const placement of existing.filter((each) => each.kind === 'db' && memberIds(next).includes(each.member))) {
    resized(hosts, existing, placement, next);
  }
  const words = [
    ...(cpus === undefined ? [] : [`${cpus} CPUs`]),
    ...(memoryBytes === undefined ? [] : [`${memoryBytes} bytes of memory`]),
    ...(diskBytes === undefined ? [] : [`${diskBytes} bytes of disk`]),
  ];
  if (words.length === 0) throw new AppError('usage', 'nothing is to be changed', { hint: 'give --cpu, --memory or --disk' });
  return change(deps, name, 'resize', `members of ${name} are to have ${words.join(', ')}`, (spec) => ({
    ...spec,
    cpus: next.cpus,
    memoryBytes: next.memoryBytes,
    diskBytes: next.diskBytes,
  }));
}

/** Failover and maintenance rest for a while; what protects acknowledged writes goes on. */
export async function pauseDb(deps: DbDeps, name: string, seconds: number): Promise<{ pausedUntil: string; sentence: string }> {
  const pausedUntil = pauseUntil(deps.now(), seconds);
  const sentence = `failover and maintenance of ${name} rest until ${pausedUntil}`;
  await change(deps, name, 'pause', sentence, (spec) => ({ ...spec, pausedUntil }));
  return { pausedUntil, sentence };
}

export async function resumeDb(deps: DbDeps, name: string): Promise<{ sentence: string }> {
  const sentence = `failover and maintenance of ${name} go on`;
  await change(deps, name, 'resume', sentence, ({ pausedUntil: _, ...spec }) => spec);
  return { sentence };
}

export async function change(
  deps: DbDeps,
  name: string,
  reason: string,
  sentence: string,
  apply: (spec: DbSpec) => DbSpec,
): Promise<DbSpec> {
  await livingSpec(deps, name);
  const spec = await deps.store.change(name, apply);
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason, sentence });
  deps.markDirty(name);
  return spec;
}
