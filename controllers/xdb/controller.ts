import { backupEvents, becameOf } from '#backup/events.ts';
import type { KvEntry } from '#core/consul/client.ts';
import { parseJson } from '#core/json.ts';
import type { Events, NewEvent } from '#pool/events.ts';
import { runPass } from '#pool/pass.ts';
import { sentenceOf as serviceSentence } from '#pool/service-execute.ts';
import { statusEvents, writeStatus } from '#pool/service-status.ts';
import { BackupRecord } from '#xdb/backup/schema.ts';
import { changeCredentials } from '#xdb/credentials.ts';
import { type ExecuteDeps, execute } from '#xdb/execute.ts';
import { type DbRecords, observe, readDb } from '#xdb/observe.ts';
import type { Observed, Step } from '#xdb/plan/world.ts';
import { plan } from '#xdb/plan.ts';
import { type DbStatus, MemberStatus, type MoveOrder } from '#xdb/schema.ts';
import { statusOf } from '#xdb/status.ts';
import { dbKeys } from '#xdb/store.ts';

export interface DbControllerDeps extends ExecuteDeps {
  events: Events;
}

interface World {
  records: DbRecords;
  observed: Omit<Observed, 'refused'>;
}

/**
 * One pass over one database.
 *
 * @returns the sentence that is its status too
 */
export function reconcileDb(deps: DbControllerDeps, name: string, signal: AbortSignal): Promise<string> {
  return runPass<World, Step>({
    object: `db/${name}`,
    log: deps.log,
    events: deps.events,
    signal,
    async look() {
      const records = await readDb(deps, name);
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
      for (const event of backupEvents(`db/${name}`, records.previous, observed.backups)) await deps.events.record(event);
      await dropOrigin(deps, records, status);
      await writeStatus(deps.store.statuses, dbKeys(name).status, records.previous, status);
      return `${name} is ${status.status}: ${status.sentence}`;
    },
  });
}

function sentenceOf(step: Step): string {
  return step.do === 'restart' ? `${step.member} has its engine restarted: ${step.reason}` : serviceSentence(step);
}

/** Pure: what became different since the controller looked last. */
export function changesOf(name: string, before: DbStatus | undefined, now: DbStatus, move: MoveOrder | undefined): NewEvent[] {
  const object = `db/${name}`;
  const events: NewEvent[] = [];
  const [was, is] = [before?.seen, now.seen];
  if (is !== undefined && was === undefined) {
    events.push({ object, kind: 'info', reason: 'born', sentence: `${is.leader} leads ${name} (epoch ${is.epoch})` });
  }
  if (is !== undefined && was !== undefined && is.leader !== was.leader) {
    const ordered = move !== undefined && move.target === is.leader && move.state !== 'failed';
    const took = ordered && move.blockedMs !== undefined ? `, no write was taken for ${Math.round(move.blockedMs)} ms` : '';
    const why = ordered ? `a ${move.kind} was asked for${took}` : `${was.leader} was lost`;
    const reason = ordered ? move.kind : 'failover';
    const sentence = `${is.leader} leads in place of ${was.leader} (epoch ${is.epoch}): ${why}`;
    events.push({ object, kind: reason === 'failover' ? 'warning' : 'info', reason, sentence });
  } else if (is !== undefined && was !== undefined && is.epoch > was.epoch) {
    const sentence = `${is.leader} leads again (epoch ${is.epoch}; ${was.epoch} was the last that was seen)`;
    events.push({ object, kind: 'warning', reason: 'took_back', sentence });
  }
  if (is !== undefined && was !== undefined && is.sync !== was.sync) {
    if (is.sync !== null) {
      events.push({ object, kind: 'info', reason: 'in_sync', sentence: `${is.sync} holds everything that ${is.leader} acknowledges` });
    } else {
      events.push({ object, kind: 'warning', reason: 'out_of_sync', sentence: `nobody but ${is.leader} holds the newest writes` });
    }
  }
  events.push(...statusEvents(object, name, before, now));
  return events;
}

/** The secrets of the database that this one was restored from are of no use once it is there. */
async function dropOrigin(deps: DbControllerDeps, { spec, previous }: DbRecords, now: DbStatus): Promise<void> {
  if (spec.value.origin === undefined || now.firstReady === undefined || previous?.firstReady !== undefined) return;
  await changeCredentials(deps, spec.value.name, ({ origin: _, ...rest }) => rest);
}

/** Records that are worth a look: not how far something has come, and of what sidecars say not what moves with time. */
export function worthALook({ key, value, modifyIndex, session }: KvEntry): string | number | undefined {
  if (/^xcaas\/db\/[^/]+\/(acked\/|handed$)/.test(key)) return undefined;
  if (/^xcaas\/db\/[^/]+\/backups\//.test(key)) return backupWord(value);
  if (!/^xcaas\/db\/[^/]+\/members\//.test(key)) return modifyIndex;
  const parsed = MemberStatus.safeParse(parseJson(value));
  if (!parsed.success) return modifyIndex;
  const { time: _, gtid: __, lagSeconds: ___, disk, archive, ...rest } = parsed.data;
  return JSON.stringify({ ...rest, disk: disk?.state, archive: archive?.active, session });
}

function backupWord(value: string): string {
  const parsed = BackupRecord.safeParse(parseJson(value));
  return parsed.success ? becameOf(parsed.data) : '';
}
