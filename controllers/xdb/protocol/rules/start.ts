import { type Situation, seconds, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** S1–S4: the engine is down. Every start is read-only and without slave threads. */
export function start(s: Situation): Step {
  const { sync, local, me, guards } = s;
  const leader = sync.leader.id;
  if (s.leads && local.disk.gen !== undefined) return startLeader(s);
  if (leader === me) {
    return wait(
      'S4',
      `${me} leads by the record, but the data that it means are not here: nothing is started`,
      `U1: the data of ${me} (generation ${sync.leader.gen}) are gone`,
    );
  }
  if (local.disk.gen === undefined) return wait('S4', `${me} has no data and takes a copy as soon as ${leader} is open`);
  if (local.disk.wasMaster) {
    if (sync.state === 'promoting' && guards.keepWhilePromoting) {
      return wait(
        'S2',
        `${leader} is taking over from ${sync.prev?.id ?? 'nobody'}: ${me} led before and stays as it is until that is decided`,
      );
    }
    return {
      rule: 'S2',
      do: 'start',
      role: 'SLAVE',
      semiSyncMaster: false,
      reason: `${me} led before ${leader} and starts as its slave, cutting off what nobody acknowledged`,
    };
  }
  const role = guards.slaveKeeps ? 'MASTER' : 'SLAVE';
  return {
    rule: 'S3',
    do: 'start',
    role,
    semiSyncMaster: false,
    reason: `${me} starts as slave of ${leader} with everything it has received`,
  };
}

function startLeader(s: Situation): Step {
  const { sync, local, me, guards, budgets, records } = s;
  const heir = sync.sync;
  const engineAge = local.engine.state === 'down' ? local.engine.ageMs : 0;
  // Started at once it would commit what nobody acknowledged, and need a new copy after its heir took over.
  if (
    heir !== null &&
    records.present.includes(heir.id) &&
    !records.paused &&
    local.stopping === undefined &&
    engineAge < budgets.yieldMs
  ) {
    return wait(
      'S1',
      `${heir.id} is there to take over from ${me}: its engine stays down for ${seconds(budgets.yieldMs - engineAge)} more`,
    );
  }
  // While promoting it may have to apply what it has received (P3), which would wait for a slave; P4 switches semi-sync on after that.
  const open = sync.state === 'open';
  return {
    rule: 'S1',
    do: 'start',
    role: guards.leaderKeeps ? 'MASTER' : 'SLAVE',
    semiSyncMaster: open && guards.semiSyncAtStart && guards.semiSyncAwaited && (guards.freshNoneAtStart || heir !== null),
    reason: `${me} leads${open ? '' : ', not open yet,'} and starts with everything it has, read-only`,
  };
}
