import { seconds, wait } from '#xdb/protocol/situation.ts';
import type { Budgets, Guards, Local, Records, Step } from '#xdb/protocol/types.ts';

/** U4: commits wait, and nothing can be done about it: they must not be left hanging, where a KILL would acknowledge them. */
export function overdue(local: Local, budgets: Budgets): Step | undefined {
  const { engine } = local;
  if (engine.state !== 'running' || engine.waiters === 0 || engine.waitAgeMs < budgets.killMs) return undefined;
  return {
    rule: 'U4',
    do: 'kill',
    reason: `commits have waited for ${seconds(engine.waitAgeMs)} and the record could not be changed: the engine is killed, so that none of them is acknowledged falsely`,
  };
}

/** S0: nothing is known of the records. What runs goes on (H10), what does not is not started. */
export function withoutRecords(local: Local, budgets: Budgets, guards: Guards): Step {
  const { engine, disk } = local;
  if (!guards.recordBeforeStart && disk.wasMaster) {
    const reason = 'guard off: leads by what it believes';
    if (engine.state === 'down' && disk.gen !== undefined) {
      return { rule: 'S1', do: 'start', role: 'MASTER', semiSyncMaster: guards.semiSyncAtStart, reason };
    }
    if (engine.state === 'running' && engine.readOnly) return { rule: 'O4', do: 'read_only', on: false, reason };
  }
  return (
    overdue(local, budgets) ??
    wait(
      'S0',
      engine.state === 'running'
        ? 'Consul does not answer: everything stays as it is'
        : 'Consul does not answer: the engine is not started',
    )
  );
}

/**
 * K1: the record is missing or older than what this member has seen: Consul was wiped or restored. Nobody starts, opens, promotes or writes a record until
 * an operator said which copy counts (`db recover`). What runs goes on, but for a master that the older record does not know: another may open by it.
 */
export function recordsLost(records: Records, local: Local, budgets: Budgets): Step | undefined {
  const { disk, engine, me } = local;
  const { sync, birth } = records;
  if (sync === undefined) {
    const beforeBirth = disk.rev === 0 && birth !== undefined && !birth.value.done;
    if (beforeBirth) return undefined;
    return (
      overdue(local, budgets) ??
      wait(
        'K1',
        'the record of this database is missing: nothing is started or changed',
        `U5: the record is missing; ${me} has seen revision ${disk.rev}`,
      )
    );
  }
  if (sync.value.rev >= disk.rev && sync.value.epoch >= disk.epoch) return undefined;
  const seen = `the record (epoch ${sync.value.epoch}, revision ${sync.value.rev}) is older than what ${me} has seen (epoch ${disk.epoch}, revision ${disk.rev})`;
  if (engine.state === 'running' && sync.value.leader.id !== me && (!engine.readOnly || engine.waiters > 0)) {
    return { rule: 'K1', do: 'kill', reason: `${seen} and names ${sync.value.leader.id} as leader: ${me} must not go on as a second one` };
  }
  return overdue(local, budgets) ?? wait('K1', `${seen}: nothing is started or changed`, `U5: ${seen}; Consul was restored`);
}
