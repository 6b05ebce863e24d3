import type { CacheSituation } from '#xcache/backup/situation.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import { createBackups, type MemberBackups } from './backups.ts';
import { clusterContents } from './cluster-contents.ts';
import type { Common } from './common.ts';
import type { RecordsView } from './records.ts';
import { createOriginRestorer, type OriginRestorer } from './restore-origin.ts';

/** What a member of a cluster has to do with backups: those that it makes for all of them, and the one that it begins with. */
export interface ClusterBackups extends MemberBackups {
  /** @returns undefined when this member begins with nothing, or has it; else what is done about it, or why it cannot be */
  hold(view: RecordsView): ReturnType<OriginRestorer['hold']>;
  /** False while what this member began with may be nowhere but on its disk. */
  copied(view: RecordsView): boolean;
}

export function createClusterBackups(
  common: Common,
  { view, facts }: { view(): RecordsView | undefined; facts(): EngineFacts | undefined },
): ClusterBackups {
  const { member } = common.deps.config;
  const origin = createOriginRestorer(common);
  let wasWhole = false;

  function situation(): CacheSituation | undefined {
    const [records, engine] = [view(), facts()];
    if (records === undefined || engine === undefined || records.cluster?.value.born !== true) return undefined;
    const { statuses, holder, spec } = records;
    // All of them hold something: it is asked of each shard's replica, and its own is as good as another's.
    const replicas = Object.values(statuses).filter(({ role, state }) => role === 'replica' && state === 'running');
    return {
      ...{ spec: spec.value, engineVersion: engine.version, usedBytes: engine.usedBytes, faithful: true },
      leads: holder === member && common.session.id() !== undefined,
      sync: replicas.map((each) => each.member).toSorted()[0],
      present: Object.keys(statuses),
    };
  }

  const backups = createBackups(common, { situation, contents: clusterContents(common, view) });
  return {
    ...backups,
    hold({ spec: { value: spec }, cluster }) {
      // Its data come to a cluster once: whatever is lost later is not made good by what was long ago.
      if (spec.origin === undefined || cluster?.value.born === true) return undefined;
      const shard = spec.members.find(({ id }) => id === member)?.shard;
      if (shard === undefined || spec.members.find((each) => each.shard === shard)?.id !== member) return undefined;
      return origin.hold(spec, shard);
    },
    copied({ spec: { value: spec }, cluster }) {
      wasWhole ||= cluster?.value.state === 'whole';
      return wasWhole || spec.origin === undefined || spec.persistence !== 'none';
    },
    async stop() {
      await Promise.all([backups.stop(), origin.stop()]);
    },
  };
}
