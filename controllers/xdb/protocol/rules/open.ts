import { fallBack, noneConfirmed } from '#xdb/protocol/rules/fallback.ts';
import { type Running, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/**
 * O: a leader whose record is open and whose engine is read-only begins to take writes. With a sync slave semi-sync is on (O2); without one a record of our
 * own says so first, and semi-sync is off before the first write, which would wait for nobody otherwise (fast variant of F).
 */
export function open(s: Running): Step | undefined {
  const { engine, sync, me, local, guards } = s;
  if (!engine.readOnly) return undefined;
  if (local.diskFull) return undefined;
  const accounts = openTo(s);
  if (accounts !== undefined) return accounts;
  if (sync.sync === null) {
    if (engine.semiSyncMaster || (guards.freshNoneAtStart && !noneConfirmed(s))) return fallBack(s, `${me} opens without a slave`);
  } else if (!engine.semiSyncMaster && guards.semiSyncAwaited) {
    return { rule: 'O2', do: 'semi_sync_master', on: true, reason: `${me} will wait for ${sync.sync.id} with each commit` };
  }
  if (!local.disk.wasMaster) {
    return { rule: 'O3', do: 'mark_master', was: true, reason: `${me} notes that it leads, before the first write` };
  }
  const how = sync.sync === null ? 'alone, until a slave is complete' : `with ${sync.sync.id} as its sync slave`;
  return { rule: 'O4', do: 'read_only', on: false, reason: `${me} takes writes, ${how}` };
}

/**
 * O1: who may fetch the leader's binlog. With a sync slave: it, and replicas, which never acknowledge. With a candidate on the way back: that alone (B2).
 * @returns the step that makes it so, undefined when it is so
 */
export function openTo(s: Running): Step | undefined {
  const { sync, engine, records, me } = s;
  const others = records.members.filter((member) => member !== me);
  const named = sync.sync?.id;
  const members = named === undefined ? others : others.filter((member) => member === named || records.replicas.includes(member));
  if (same(engine.openAccounts, members)) return undefined;
  return { rule: 'O1', do: 'allow_dumps', members, reason: `only ${members.join(', ') || 'nobody'} may follow ${me}` };
}

/** Same members, in whatever order. */
export const same = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((member) => b.includes(member));

/** Disk guard: a master whose disk is nearly full takes no more writes. */
export function diskGuard(s: Running): Step | undefined {
  if (!s.local.diskFull) return undefined;
  if (s.engine.readOnly) return undefined;
  return { rule: 'disk', do: 'read_only', on: true, reason: `the disk of ${s.me} is nearly full: no more writes are taken` };
}

export const diskWait = (s: Running): Step | undefined =>
  s.local.diskFull && s.engine.readOnly ? wait('disk', `the disk of ${s.me} is nearly full: it is read-only`) : undefined;
