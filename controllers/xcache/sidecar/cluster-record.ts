import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { ClusterReport } from '#xcache/cluster/report.ts';
import { ClusterRecord } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';
import type { Common } from './common.ts';
import type { RecordsView } from './records.ts';

export interface ClusterWrite {
  view: RecordsView;
  report: ClusterReport;
  born: boolean;
  nodes: Record<string, string>;
  lost: ClusterRecord['lost'];
  /** Beside the report's sentence: a step that failed. */
  failure: string | undefined;
}

/** What only counts on is written so often, in milliseconds. */
const COUNT_EVERY_MS = 1000;
/** A write whose outcome was not read back by then is written over. */
const UNREAD_MS = 1500;

/** Writes the record `cluster`, each time what it says has changed. */
export function createClusterWriter({ consul, deps }: Pick<Common, 'consul' | 'deps'>) {
  const { cache, member } = deps.config;
  const log: Logger = deps.log;
  let last: { index: number; at: number } | undefined;

  return async ({ view, report, born, nodes, lost, failure }: ClusterWrite): Promise<void> => {
    const present = view.cluster;
    const index = present?.index ?? 0;
    const since = performance.now() - (last?.at ?? Number.NEGATIVE_INFINITY);
    // What was written last is not read yet.
    if (last?.index === index && since < UNREAD_MS) return;
    const next: ClusterRecord = {
      ...{ v: 1, born, nodes, holder: member, state: report.state, slots: report.slots, emptied: report.emptied },
      sentence: failure === undefined ? report.sentence : `${report.sentence} (${failure})`,
      ...(report.left === 0 ? {} : { progress: progressOf(present?.value.progress, report.left) }),
      ...(lost === undefined ? {} : { lost }),
    };
    if (present !== undefined && JSON.stringify(ClusterRecord.parse(next)) === JSON.stringify(present.value)) return;
    if (present !== undefined && shapeOf(next) === shapeOf(present.value) && since < COUNT_EVERY_MS) return;
    last = { index, at: performance.now() };
    try {
      if (!(await consul.kv.cas(cacheKeys(cache).cluster, JSON.stringify(next), index)))
        log.info('the record of the cluster has changed meanwhile');
      else if (next.sentence !== present?.value.sentence) log.info({ state: next.state, sentence: next.sentence }, 'the cluster');
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'the record of the cluster cannot be written');
    }
  };
}

/** A move that is asked for while another is under way makes one of both. */
function progressOf(before: ClusterRecord['progress'], left: number): NonNullable<ClusterRecord['progress']> {
  return { total: Math.max(before?.total ?? 0, left), left, since: before?.since ?? new Date().toISOString() };
}

const shapeOf = (record: ClusterRecord) =>
  JSON.stringify([record.born, record.nodes, record.holder, record.state, record.emptied, record.lost]);
