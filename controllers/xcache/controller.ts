import { backupEvents, becameOf } from '#backup/events.ts';
import type { KvEntry } from '#core/consul/client.ts';
import { parseJson } from '#core/json.ts';
import type { Events, NewEvent } from '#pool/events.ts';
import { runPass } from '#pool/pass.ts';
import { sentenceOf } from '#pool/service-execute.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import { statusEvents, writeStatus } from '#pool/service-status.ts';
import { CacheBackupRecord } from '#xcache/backup/schema.ts';
import { cacheVault } from '#xcache/credentials.ts';
import { type ExecuteDeps, execute } from '#xcache/execute.ts';
import { keepGrowth } from '#xcache/growth/keep.ts';
import { type CacheRecords, observe, readCache } from '#xcache/observe.ts';
import type { Observed } from '#xcache/plan/world.ts';
import { plan } from '#xcache/plan.ts';
import { CacheMemberStatus, type CacheStatus, type MoveOrder } from '#xcache/schema.ts';
import { statusOf } from '#xcache/status.ts';
import { cacheKeys } from '#xcache/store.ts';

export interface CacheControllerDeps extends ExecuteDeps {
  events: Events;
}

interface World {
  records: CacheRecords;
  observed: Omit<Observed, 'refused'>;
}

/**
 * One pass over one cache.
 *
 * @returns the sentence that is its status too
 */
export function reconcileCache(deps: CacheControllerDeps, name: string, signal: AbortSignal): Promise<string> {
  return runPass<World, ServiceStep>({
    object: `cache/${name}`,
    log: deps.log,
    events: deps.events,
    signal,
    async look() {
      const records = await readCache(deps, name);
      return records === undefined ? undefined : { records, observed: await observe(deps, records) };
    },
    plan: ({ records, observed }) => plan(records.spec.value, observed, deps.now()),
    execute: ({ records, observed }, step) => execute(deps, records.spec.value, observed, step),
    sentenceOf,
    together: (step) => step.do === 'ensure' && !step.replaces,
    isLast: (step) => step.do === 'forget',
    async conclude({ records, observed }, refused) {
      const status = statusOf(records.spec.value, { ...observed, refused }, deps.now());
      for (const event of changesOf(name, records.previous, status, observed.move)) await deps.events.record(event);
      for (const event of backupEvents(`cache/${name}`, records.previous, observed.backups ?? [])) await deps.events.record(event);
      await writeStatus(deps.store.statuses, cacheKeys(name).status, records.previous, status);
      await keepGrowth(deps, records.spec.value, { ...observed, refused });
      await dropOrigin(deps, records, status);
      return `${name} is ${status.status}: ${status.sentence}`;
    },
  });
}

/** Pure: what became different since the controller looked last. */
export function changesOf(name: string, before: CacheStatus | undefined, now: CacheStatus, move: MoveOrder | undefined): NewEvent[] {
  const object = `cache/${name}`;
  const events: NewEvent[] = [];
  const [was, is] = [before?.seen, now.seen];
  if (is !== undefined && was === undefined)
    events.push({
      object,
      kind: 'info',
      reason: 'born',
      sentence: `${is.masters.join(', ')} ${is.masters.length === 1 ? 'leads' : 'lead'} ${name}`,
    });
  if (is !== undefined && was !== undefined) {
    const came = is.masters.filter((member) => !was.masters.includes(member));
    const went = was.masters.filter((member) => !is.masters.includes(member));
    if (came.length > 0) {
      const ordered = move !== undefined && move.state !== 'failed' && came.includes(move.target ?? '');
      const why = ordered ? 'a switchover was asked for' : `${went.join(', ') || 'the master before'} was lost or has stood down`;
      const epoch = is.epoch > 0 ? ` (epoch ${is.epoch})` : '';
      const sentence = `${came.join(', ')} leads in place of ${went.join(', ') || 'nobody'}${epoch}: ${why}`;
      events.push({ object, kind: ordered ? 'info' : 'warning', reason: ordered ? 'switchover' : 'failover', sentence });
    } else if (is.epoch > was.epoch) {
      const sentence = `${is.masters.join(', ')} leads again (epoch ${is.epoch}; ${was.epoch} was the last that was seen)`;
      events.push({ object, kind: 'warning', reason: 'took_back', sentence });
    }
    const gained = is.insync.filter((member) => !was.insync.includes(member));
    const lost = was.insync.filter((member) => !is.insync.includes(member) && !is.masters.includes(member));
    for (const member of gained)
      events.push({ object, kind: 'info', reason: 'in_sync', sentence: `${member} follows closely and may take over` });
    for (const member of lost)
      events.push({ object, kind: 'warning', reason: 'out_of_sync', sentence: `${member} may not take over any more` });
  }
  events.push(...statusEvents(object, name, before, now));
  return events;
}

/** What opens the backups of another cache is needed by the member that begins with one of them, and by nobody later. */
async function dropOrigin(deps: CacheControllerDeps, { spec, previous }: CacheRecords, now: CacheStatus): Promise<void> {
  if (spec.value.origin === undefined || now.firstReady === undefined || previous?.firstReady !== undefined) return;
  await cacheVault.change(deps, spec.value.name, ({ origin: _, ...rest }) => rest);
}

/** Records that are worth a look: of what sidecars say not what moves with time. */
export function worthALook({ key, value, modifyIndex, session }: KvEntry): string | number | undefined {
  if (/^xcaas\/cache\/[^/]+\/(handed|growth)$/.test(key)) return undefined;
  if (/^xcaas\/cache\/[^/]+\/backups\//.test(key)) return backupWord(value);
  if (!/^xcaas\/cache\/[^/]+\/members\//.test(key)) return modifyIndex;
  const parsed = CacheMemberStatus.safeParse(parseJson(value));
  if (!parsed.success) return modifyIndex;
  const { member, role, state, specIndex, restartSerial, epoch, address } = parsed.data;
  return JSON.stringify([member, role, state, specIndex, restartSerial, epoch, address, session]);
}

/** Not how many bytes of one are stored by now. */
function backupWord(value: string): string {
  const parsed = CacheBackupRecord.safeParse(parseJson(value));
  return parsed.success ? becameOf(parsed.data) : value;
}
