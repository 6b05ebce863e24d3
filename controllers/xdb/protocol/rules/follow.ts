import { isReplica, type Running, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** J, first part: never received from anyone but the leader, open or not. */
export function leaveOthers(s: Running): Step | undefined {
  const { slave } = s.engine;
  const { leader, epoch } = s.sync;
  if ((slave.of === leader.id && !slave.outside) || slave.io === 'stopped') return undefined;
  return {
    rule: 'J',
    do: 'stop_receiving',
    epoch,
    reason: `${s.me} receives from ${slave.of ?? 'an outside master'}, but ${leader.id} leads: it stops receiving`,
  };
}

/** J: a member becomes a slave of the leader, and says so when it holds nothing that the leader lacks. */
export function follow(s: Running): Step {
  const { sync, me, engine, local, guards } = s;
  const leader = sync.leader.id;
  if (sync.state === 'promoting') return wait('J', `${me} follows ${leader} as soon as that is open`);
  const { slave } = engine;
  if (engine.relayUnapplied && guards.rescueRelay) {
    return { rule: 'J1', do: 'drain', reason: `${me} replays what it has received and not applied before it connects to anybody` };
  }
  const boot = publishBoot(s);
  if (boot !== undefined) return boot;
  const data = s.records.data[me];
  const ready = data?.value.ready === sync.epoch;
  const following = slave.of === leader && slave.io !== 'stopped';
  if (guards.compare && hasDiverged(s))
    return wait('J', `${me} holds what ${leader} does not have: it is made anew once ${leader} is there`);
  if (following && ready && !local.disk.wasMaster) return settled(s);
  const inTheWay = sync.sync !== null && sync.sync.id !== me && !isReplica(s) ? sync.sync.id : undefined;
  if (!following && inTheWay !== undefined) {
    return wait(
      'J',
      `${me} has a copy and follows ${leader} as soon as ${inTheWay} is its sync slave no more: one member acknowledges, no other`,
    );
  }
  if (guards.compare && !isCompared(s)) {
    const { gen } = sync.leader;
    return {
      rule: 'J2',
      do: 'compare',
      leader,
      gen,
      epoch: sync.epoch,
      reason: `${me} asks ${leader} whether it has everything that ${me} has`,
    };
  }
  if (!following) {
    const semiSync = !isReplica(s);
    return { rule: 'J2', do: 'follow', leader, semiSync, reason: `${me} follows ${leader}` };
  }
  if (slave.io !== 'running') return wait('J', `${me} tries to connect to ${leader}`);
  const marked = local.disk.wasMaster;
  if (marked && (guards.markerBeforeReady || ready)) {
    return { rule: 'J3', do: 'mark_master', was: false, reason: `${me} follows ${leader} and no longer counts as a former leader` };
  }
  return {
    rule: 'J3',
    do: 'publish',
    ready: sync.epoch,
    at: data?.index ?? 0,
    reason: `${me} follows ${leader} and holds nothing else: it says that it is ready`,
  };
}

/** The engine's new boot is known before it follows anybody: whoever saw the old one starts anew (B3). */
function publishBoot(s: Running): Step | undefined {
  const { engine, local, me } = s;
  const data = s.records.data[me];
  if (data !== undefined && data.value.boot === engine.instance && data.value.gen === local.disk.gen) return undefined;
  return { rule: 'J3', do: 'publish', ready: null, at: data?.index ?? 0, reason: `${me} makes its engine's start known` };
}

/** J2 was answered "contained"; "diverged" is R's. */
function isCompared(s: Running): boolean {
  const { compared } = s.memory;
  return compared !== undefined && compared.gen === s.sync.leader.gen && compared.epoch === s.sync.epoch;
}

export const hasDiverged = (s: Running): boolean => isCompared(s) && s.memory.compared?.result === 'diverged';

function settled(s: Running): Step {
  const { me, engine, sync } = s;
  const { lagSeconds, io } = engine.slave;
  const leader = sync.leader.id;
  if (io !== 'running') return wait('J', `${me} has lost its connection to ${leader} and tries again`);
  const lag = lagSeconds === null ? '' : `, ${lagSeconds} s behind`;
  return wait('idle', sync.sync?.id === me ? `${me} is the sync slave of ${leader}${lag}` : `${me} follows ${leader}${lag}`);
}
