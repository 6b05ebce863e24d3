import { fallBack, noneConfirmed } from '#xdb/protocol/rules/fallback.ts';
import { openTo } from '#xdb/protocol/rules/open.ts';
import { type Running, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/**
 * role=slave before its cutover: the leader is read-only and follows an outside master instead of being written to. Its own members follow it, and none is its sync
 * slave: nothing is acknowledged to a client here. The cutover takes `upstream` out of the specification; what remains is {@link cutOver}, then O.
 */
export function upstream(s: Running): Step | undefined {
  const { engine, records, me, sync } = s;
  if (records.upstream === undefined) return undefined;
  const { slave } = engine;
  if (!engine.readOnly)
    return { rule: 'upstream', do: 'read_only', on: true, reason: `${me} follows ${records.upstream}: nobody else writes to it` };
  // What it applies would wait for a slave of its own.
  if (engine.semiSyncMaster || sync.sync !== null) {
    if (!noneConfirmed(s) || engine.semiSyncMaster) return fallBack(s, `${me} follows ${records.upstream}`);
  }
  const accounts = openTo(s);
  if (accounts !== undefined) return accounts;
  if (slave.broken !== undefined) {
    return wait(
      'upstream',
      `${me} cannot follow ${records.upstream} any more: ${slave.broken}`,
      `copy of ${records.upstream} stopped: ${slave.broken}`,
    );
  }
  if (!slave.outside || slave.io === 'stopped') {
    if (engine.relayUnapplied)
      return { rule: 'upstream', do: 'drain', reason: `${me} replays what it has received of ${records.upstream}` };
    return { rule: 'upstream', do: 'follow_upstream', reason: `${me} follows ${records.upstream}` };
  }
  if (slave.io === 'connecting') {
    const why = slave.trouble === undefined ? '' : `: ${slave.trouble}`;
    return wait('upstream', `${me} tries to connect to ${records.upstream}${why}`);
  }
  const lag = slave.lagSeconds === null ? '' : `, ${Math.round(slave.lagSeconds)} s behind`;
  return wait('upstream', `${me} follows ${records.upstream}${lag}`);
}

/** After the cutover: what was received is applied, the outside master forgotten, before O. */
export function cutOver(s: Running): Step | undefined {
  const { engine, me, sync } = s;
  const { slave } = engine;
  const { epoch } = sync;
  if (!slave.outside) return undefined;
  if (slave.io !== 'stopped')
    return { rule: 'upstream', do: 'stop_receiving', epoch, reason: `${me} stops receiving from the outside master` };
  if (!slave.drained || engine.relayUnapplied) {
    // On since its start (S1): what it applies would wait for a slave for ever.
    if (engine.semiSyncMaster) return fallBack(s, `${me} applies what it has received of the outside master`);
    return { rule: 'upstream', do: 'drain', reason: `${me} applies what it has received of the outside master` };
  }
  return { rule: 'upstream', do: 'forget_master', epoch, reason: `${me} forgets the outside master` };
}
