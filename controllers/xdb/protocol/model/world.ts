import { canonical, endsWithEngine } from '#xdb/protocol/model/canonical.ts';
import * as c from '#xdb/protocol/model/codes.ts';
import { broken } from '#xdb/protocol/model/invariants.ts';
import * as f from '#xdb/protocol/model/layout.ts';
import { createMind, type Mind, snapshot } from '#xdb/protocol/model/mind.ts';
import { GUARDS, type Guards } from '#xdb/protocol/types.ts';

/** Guards whose place is the execution of steps, the engine's configuration or the supervisor; each can be left out to show that it is needed. */
export interface WorldGuards {
  /** Writes of the record are compare-and-set (NOCAS). */
  compareAndSet: boolean;
  /** D1: the fence is SIGKILL; SIGTERM lets waiters go (SIGTERM). */
  sigkill: boolean;
  /** Slave threads do not start with the engine (AUTOSTART). */
  skipSlaveStart: boolean;
  /** G1: where what was received may be gone with the host's memory, the data count as others (RELAYLOSS). */
  newAfterReboot: boolean;
  /** J2: that is noted on the disk before anything is received, not only before "ready". */
  notedBeforeFollow: boolean;
  /** P4: the note goes once everything is applied, not as soon as nothing is received any more. */
  notedUntilApplied: boolean;
  /** A2: only the sidecar starts the engine, and a command ends with the instance that it was for (SUPERV). */
  onlySidecarStarts: boolean;
}

export const WORLD_GUARDS: WorldGuards = {
  compareAndSet: true,
  sigkill: true,
  skipSlaveStart: true,
  newAfterReboot: true,
  notedBeforeFollow: true,
  notedUntilApplied: true,
  onlySidecarStarts: true,
};

export interface WorldOptions {
  /** Transactions that are live (not yet durable on both members) at once. */
  live: number;
  guards?: Partial<Guards>;
  worldGuards?: Partial<WorldGuards>;
  /** Disks are lost, any number of times. */
  diskLoss?: boolean;
  /** Commands outlive the sidecar that sent them; `start_slave`: only a START SLAVE does. */
  strays?: 'all' | 'start_slave';
  /** Writes of data records take effect when they are decided (they are decided as late as can be). */
  promptPublications?: boolean;
  /** Sidecars decide on records that they read at some time before they looked at their engines. */
  staleRecords?: boolean;
  /** Steps that look only at their own engine may be late as well. */
  lateCommands?: boolean;
}

/** Called for every successor; the state is canonical and only lent. */
export type Emit = (next: f.State, label: string, member: number, fault: boolean, violation: string | undefined) => void;

export interface World {
  options: WorldOptions;
  mind: Mind;
  initial(): f.State;
  expand(state: f.State, emit: Emit): void;
}

/**
 * The world around two sidecars: engines, replication, clients, Consul. Every step of every process may be delayed for ever, every request may take effect as late
 * as its index allows, every answer may be lost, every connection may drop, every engine, sidecar and host may end at any moment, any number of times. Frozen
 * processes, partitions and expired sessions need nothing of their own: they are delays. There is no lock: promotion may be tried at any time.
 */
export function createWorld(options: WorldOptions): World {
  const guards: Guards = { ...GUARDS, ...options.guards };
  const world: WorldGuards = { ...WORLD_GUARDS, ...options.worldGuards };
  const strays = options.strays !== undefined || !guards.adopt;
  const mind = createMind({
    guards,
    strays: strays && options.strays !== 'start_slave',
  });
  const keepStaleReady = !guards.readyInEpoch;
  const t = f.newState();
  let from: f.State;
  let send: Emit;
  /** Found while a transition is made, beyond what its end shows. */
  let wrong: string | undefined;

  const begin = (): void => {
    t.set(from);
    wrong = undefined;
  };
  const emit = (label: string, member: number, fault = false): void => {
    const violation = wrong ?? broken(t, guards);
    canonical(t, keepStaleReady);
    send(t, label, member, fault, violation);
  };

  // ---- what happens to an engine ----

  const release = (m: number): void => {
    t[f.ACKED] = t[f.ACKED]! | t[m + f.PENDING]!;
    t[m + f.PENDING] = 0;
    t[m + f.NO_WAIT] = 0;
  };
  /** The relay log's last transaction goes, if it is only there. */
  const loseUndrained = (m: number): void => {
    if (t[m + f.DRAINED] === 1 || t[m + f.LEN] === 0) return;
    f.cut(t, m, t[m + f.LEN]! - 1);
    t[m + f.DRAINED] = 1;
  };
  const die = (member: number): void => {
    const m = f.at(member);
    t[m + f.ENGINE] = 0;
    t[m + f.VIEW] = t[m + f.VIEW]! & ~f.VIEW_BOOT;
    // Publications on their way name a start that is over.
    const publishing = t[m + f.PUBLISHING]!;
    t[m + f.PUBLISHING] = (publishing | (publishing << c.PUB_OLD_SHIFT)) & (7 << c.PUB_OLD_SHIFT);
    if (!world.onlySidecarStarts && c.isCommand(t[m + f.DOING]!)) return;
    mind.forget(t, member);
    if (endsWithEngine(t[m + f.DOING]!)) t[m + f.DOING] = 0;
  };
  const wipe = (member: number): void => {
    const m = f.at(member);
    die(member);
    f.cut(t, m, 0);
    t[m + f.HAS_DATA] = 0;
    t[m + f.WHOLE] = 0;
    t[m + f.DRAINED] = 1;
    t[m + f.WAS_MASTER] = 0;
    endGeneration(member);
  };
  /** Whatever names its data means others than it has from now on. */
  const endGeneration = (member: number): void => {
    const m = f.at(member);
    const o = f.at(1 - member);
    t[m + f.GEN_OK] = 0;
    t[m + f.NOTED] = 0;
    t[m + f.VIEW] = t[m + f.VIEW]! & ~f.VIEW_GEN_OK;
    const requests = t[o + f.REQUESTS]!;
    // Written with the generation of that moment; one that names data that are gone is of no use.
    if (!guards.candidateUnchanged) t[o + f.REQUESTS] = t[o + f.REQUESTS]! & ~c.REQUEST[c.WRITE_SYNC]!;
    if ((requests & c.REQUEST[c.WRITE_CAND]!) !== 0)
      t[o + f.REQUESTS] = (t[o + f.REQUESTS]! & ~c.REQUEST[c.WRITE_CAND]!) | c.REQUEST_CAND_GONE;
  };
  const up = (m: number, semiSync: number): void => {
    t[m + f.ENGINE] = 1;
    t[m + f.READ_ONLY] = 1;
    t[m + f.SEMI_SYNC] = semiSync;
    t[m + f.SQL] = 0;
    t[m + f.IO] = 0;
  };

  // ---- what happens to records ----

  /** The record has a new index: requests made for the old one can no longer take effect, and who waits for one hears so. */
  const recordChanged = (): void => {
    if (!world.compareAndSet) return;
    for (let member = 0; member < 2; member++) {
      const m = f.at(member);
      t[m + f.REQUESTS] = 0;
      const doing = t[m + f.DOING]!;
      if (c.isAwaited(doing)) {
        mind.remember(t, member, doing, 'failed');
        t[m + f.DOING] = 0;
      }
      if (options.staleRecords === true) {
        if (from[m + f.VIEW] === 0) t[m + f.VIEW] = snapshot(from, member);
        continue;
      }
      t[m + f.NONE] = 0;
      t[m + f.BACK] = 0;
      t[m + f.WITHDRAWN] = 0;
    }
  };
  /** A member reads the record: what it remembers of another index or epoch is over. */
  const read = (m: number): void => {
    const view = t[m + f.VIEW]!;
    t[m + f.VIEW] = 0;
    t[m + f.NONE] = 0;
    t[m + f.BACK] = 0;
    t[m + f.WITHDRAWN] = 0;
    if ((view & f.VIEW_EPOCH_OVER) === 0) return;
    t[m + f.STOPPED] = 0;
    t[m + f.FORGOTTEN] = 0;
    t[m + f.COMPARED] = 0;
  };
  const epochChanged = (): void => {
    for (let member = 0; member < 2; member++) {
      const m = f.at(member);
      if (t[m + f.VIEW] === 0) {
        t[m + f.STOPPED] = 0;
        t[m + f.FORGOTTEN] = 0;
        t[m + f.COMPARED] = 0;
      } else t[m + f.VIEW] = t[m + f.VIEW]! | f.VIEW_EPOCH_OVER;
      if (t[m + f.READY] === 1) t[m + f.READY] = 2;
      const publishing = t[m + f.PUBLISHING]!;
      const ready = publishing & (c.PUB_READY | (c.PUB_READY << c.PUB_OLD_SHIFT));
      t[m + f.PUBLISHING] = (publishing & ~ready) | (ready << 1);
    }
  };
  /** `data/<member>` has a new index: the other's flow back to sync is over, and so are requests that check or write it. */
  const dataChanged = (member: number): void => {
    const m = f.at(member);
    const o = f.at(1 - member);
    t[m + f.PUBLISHING] = 0;
    t[m + f.REQUESTS] = t[m + f.REQUESTS]! & ~c.REQUEST[c.WRITE_WITHDRAW]!;
    refuse(member, c.WRITE_WITHDRAW);
    let dying = c.REQUEST[c.WRITE_CAND]! | c.REQUEST_CAND_GONE;
    if (guards.candidateUnchanged) {
      dying |= c.REQUEST[c.WRITE_SYNC]!;
      t[o + f.BACK] = 0;
    }
    t[o + f.REQUESTS] = t[o + f.REQUESTS]! & ~dying;
    refuse(1 - member, c.WRITE_CAND);
  };
  /** Who waits for this write hears that it came to nothing. */
  const refuse = (member: number, code: number): void => {
    const m = f.at(member);
    if (t[m + f.DOING] !== code) return;
    mind.remember(t, member, code, 'failed');
    t[m + f.DOING] = 0;
  };
  const record = (leader: number, sync: number, cand: number, prev: number, promoting: number): void => {
    t[f.LEADER] = leader;
    t[f.SYNC] = sync;
    t[f.CAND] = cand;
    t[f.PREV] = prev;
    t[f.PROMOTING] = promoting;
  };
  const applyWrite = (member: number, code: number, gone: boolean): void => {
    const m = f.at(member);
    const o = f.at(1 - member);
    const led = from[f.LEADER] === member;
    const awaited = t[m + f.DOING] === code;
    if (awaited) t[m + f.DOING] = 0;
    recordChanged();
    switch (code) {
      case c.WRITE_NONE:
        record(member, 0, 0, 0, 0);
        break;
      case c.WRITE_CAND:
        record(member, 0, 1, 0, 0);
        t[o + f.GEN_OK] = gone ? 0 : 1;
        break;
      case c.WRITE_SYNC:
        record(member, 1, 0, 0, 0);
        if (!guards.candidateUnchanged) t[o + f.GEN_OK] = 1;
        break;
      case c.WRITE_PROMOTE:
        if (from[f.SYNC] === 0 || !guards.generation) t[m + f.GEN_OK] = 1;
        record(member, 0, 0, led ? from[f.PREV]! : 1, 1);
        epochChanged();
        break;
      case c.WRITE_OPEN:
        record(member, 0, 0, 0, 0);
        if (t[m + f.GEN_OK] === 1 && lacksAcked(m)) wrong = 'I3: a member that lacks an acknowledged transaction is open';
        break;
      case c.WRITE_BACK:
        record(member, led ? 0 : 1, 0, 0, 0);
        epochChanged();
        break;
      default:
        if (from[f.SYNC] === 1 && !led) record(from[f.LEADER]!, 0, 0, 0, from[f.PROMOTING]!);
        t[m + f.READY] = 0;
        dataChanged(member);
    }
  };
  const lacksAcked = (m: number): boolean => {
    const acked = t[f.ACKED]!;
    for (let id = 1; id <= f.MAX_LIVE; id++) if (((acked >> (id - 1)) & 1) === 1 && !f.inLog(t, m, id)) return true;
    return false;
  };

  // ---- transitions ----

  const clients = (member: number, m: number): void => {
    if (from[m + f.ENGINE] === 0) return;
    if (from[m + f.READ_ONLY] === 0) {
      let used = from[f.ACKED]!;
      for (let k = 0; k < 2; k++) for (let p = 0; p < from[f.at(k) + f.LEN]!; p++) used |= 1 << (from[f.at(k) + f.LOG + p]! - 1);
      let id = 1;
      while (id <= options.live && ((used >> (id - 1)) & 1) === 1) id++;
      if (id <= options.live) {
        begin();
        loseUndrained(m);
        const flag = 1 << (id - 1);
        t[m + f.LOG + t[m + f.LEN]!] = id;
        t[m + f.LEN] = t[m + f.LEN]! + 1;
        t[f.AUTHOR] = (t[f.AUTHOR]! & ~flag) | (member << (id - 1));
        t[m + f.PENDING] = t[m + f.PENDING]! | flag;
        if (t[m + f.SEMI_SYNC] === 0) t[m + f.NO_WAIT] = t[m + f.NO_WAIT]! | flag;
        emit('a client writes', member);
      }
    }
    if (from[m + f.NO_WAIT] !== 0) {
      for (let id = 1; id <= options.live; id++) {
        const flag = 1 << (id - 1);
        if ((from[m + f.NO_WAIT]! & flag) === 0) continue;
        begin();
        t[f.ACKED] = t[f.ACKED]! | flag;
        t[m + f.PENDING] = t[m + f.PENDING]! & ~flag;
        t[m + f.NO_WAIT] = t[m + f.NO_WAIT]! & ~flag;
        emit('a client hears OK, nobody was waited for', member);
      }
    }
  };

  const replication = (member: number, m: number, o: number): void => {
    if (from[m + f.ENGINE] === 0) return;
    if (from[m + f.CONNECTED] === 1 && from[o + f.ENGINE] === 1 && from[m + f.LEN]! < from[o + f.LEN]!) {
      begin();
      const length = from[m + f.LEN]!;
      for (let k = 0; k < length; k++)
        if (from[m + f.LOG + k] !== from[o + f.LOG + k]) wrong = 'I5: a slave streams from a master with another history';
      t[m + f.LOG + length] = from[o + f.LOG + length]!;
      t[m + f.LEN] = length + 1;
      t[m + f.DRAINED] = 0;
      t[o + f.ACK_IN] = length + 1;
      emit('receives a transaction, its acknowledgement is on its way', member);
    }
    // What it applies is committed, and with semi-sync on that commit would wait for a slave.
    if (from[m + f.SQL] === 1 && from[m + f.DRAINED] === 0 && from[m + f.SEMI_SYNC] === 0) {
      begin();
      t[m + f.DRAINED] = 1;
      emit('its SQL thread has applied everything', member);
    }
    if (from[m + f.ACK_IN] !== 0) {
      begin();
      for (let k = 0; k < from[m + f.ACK_IN]! && k < from[m + f.LEN]!; k++) {
        const flag = 1 << (from[m + f.LOG + k]! - 1);
        if ((t[m + f.PENDING]! & flag) === 0) continue;
        t[f.ACKED] = t[f.ACKED]! | flag;
        t[m + f.PENDING] = t[m + f.PENDING]! & ~flag;
        t[m + f.NO_WAIT] = t[m + f.NO_WAIT]! & ~flag;
      }
      t[m + f.ACK_IN] = 0;
      emit('the acknowledgement arrives, clients hear OK', member);
    }
    if (from[m + f.CONNECTED] === 1) {
      begin();
      t[m + f.CONNECTED] = 0;
      emit('its connection to the other drops', member, true);
    }
    if (from[m + f.IO] === 1 && from[m + f.CONNECTED] === 0 && from[o + f.ENGINE] === 1 && (!guards.compare || extendedBy(from, m, o))) {
      begin();
      t[m + f.CONNECTED] = 1;
      emit('its IO thread connects', member);
    }
  };

  const endings = (member: number, m: number): void => {
    if (from[m + f.ENGINE] === 1) {
      begin();
      die(member);
      emit('ENGINE OR HOST CRASHES', member, true);
    }
    // All others are no more than a crash of its engine and its sidecar: what is applied is on the disk.
    if (from[m + f.NOTED] === 1 || (from[m + f.DRAINED] === 0 && from[m + f.HAS_DATA] === 1)) reboot(member, m);
    if (options.diskLoss === true && from[m + f.HAS_DATA] === 1) {
      begin();
      wipe(member);
      emit('DISK LOST', member, true);
    }
    if (from[m + f.STRAY] !== 0) {
      begin();
      t[m + f.STRAY] = 0;
      if (from[m + f.STRAY] === 1) {
        release(m);
        t[m + f.SEMI_SYNC] = 0;
        emit('a stray command: semi-sync off', member);
      } else if (from[m + f.STRAY] === 2) {
        t[m + f.READ_ONLY] = 0;
        emit('a stray command: read-only off', member);
      } else {
        t[m + f.IO] = 1;
        t[m + f.SQL] = 1;
        emit('a stray command: START SLAVE', member);
      }
    }
    if (!world.onlySidecarStarts && from[m + f.ENGINE] === 0 && from[m + f.HAS_DATA] === 1) {
      begin();
      up(m, 0);
      emit('somebody else starts the engine', member);
    }
  };

  /** The end of the relay log is gone with the host's memory, and whatever is left of it is thrown away. */
  const reboot = (member: number, m: number): void => {
    const shortest = from[m + f.DRAINED] === 1 ? from[m + f.LEN]! : 0;
    const longest = Math.max(shortest, from[m + f.LEN]! - (1 - from[m + f.DRAINED]!));
    for (let length = shortest; length <= longest; length++) {
      begin();
      die(member);
      t[m + f.DOING] = 0;
      t[m + f.VIEW] = 0;
      mind.forget(t, member);
      f.cut(t, m, length);
      t[m + f.DRAINED] = 1;
      if (from[m + f.NOTED] === 1 && world.newAfterReboot) endGeneration(member);
      t[m + f.NOTED] = 0;
      emit(`HOST CRASHES, ${length} of ${from[m + f.LEN]} are on its disk`, member, true);
    }
  };

  const consul = (member: number, m: number): void => {
    const requests = from[m + f.REQUESTS]!;
    if (requests !== 0) {
      for (let code = c.WRITE_NONE; code <= c.WRITE_BACK; code++) {
        if ((requests & c.REQUEST[code]!) === 0) continue;
        begin();
        t[m + f.REQUESTS] = requests & ~c.REQUEST[code]!;
        const awaited = from[m + f.DOING] === code;
        applyWrite(member, code, false);
        if (awaited) mind.remember(t, member, code, 'unknown');
        emit(`Consul takes ${NAMES[code]}${awaited ? ', the answer is lost' : ''}`, member);
        if (!awaited) continue;
        begin();
        t[m + f.REQUESTS] = requests & ~c.REQUEST[code]!;
        applyWrite(member, code, false);
        read(m);
        mind.remember(t, member, code, 'done');
        emit(`Consul takes ${NAMES[code]}, the answer is heard`, member);
      }
      if ((requests & c.REQUEST_CAND_GONE) !== 0) {
        begin();
        t[m + f.REQUESTS] = requests & ~c.REQUEST_CAND_GONE;
        applyWrite(member, c.WRITE_CAND, true);
        emit('Consul takes B1 with data that are gone', member);
      }
    }
    const publishing = from[m + f.PUBLISHING]!;
    if (publishing === 0) return;
    for (let k = 0; k < 6; k++) {
      if (((publishing >> k) & 1) === 0) continue;
      begin();
      dataChanged(member);
      t[m + f.READY] = k % 3;
      t[m + f.BOOT] = k < 3 ? 1 : 0;
      emit(`Consul takes data: ready ${['null', 'now', 'of an older epoch'][k % 3]}${k < 3 ? '' : ', of an older start'}`, member);
    }
  };

  const sidecar = (member: number, m: number, o: number): void => {
    const doing = from[m + f.DOING]!;
    const blank = isBlank(m);
    if (doing !== 0 || !blank) {
      begin();
      t[m + f.DOING] = 0;
      t[m + f.VIEW] = 0;
      mind.forget(t, member);
      emit('its sidecar ends and starts anew', member, true);
      const stray = STRAY_OF[doing] ?? 0;
      if (strays && stray !== 0 && from[m + f.ENGINE] === 1 && (options.strays !== 'start_slave' || stray === 3)) {
        begin();
        t[m + f.DOING] = 0;
        t[m + f.VIEW] = 0;
        mind.forget(t, member);
        t[m + f.STRAY] = stray;
        if (stray === 3 && world.notedBeforeFollow) t[m + f.NOTED] = 1;
        emit('its sidecar ends; the command that it sent stays in the engine', member, true);
      }
    }
    if (doing !== 0) {
      perform(member, m, doing);
      return;
    }
    if (from[m + f.VIEW] !== 0) {
      begin();
      read(m);
      emit('reads the record', member);
    }
    for (const code of mind.steps(from, member)) resolve(member, m, o, code);
  };

  const isBlank = (m: number): boolean => {
    for (let k = f.NONE; k <= f.COMPARED; k++) if (from[m + k] !== 0) return false;
    return from[m + f.WITHDRAWN] === 0;
  };

  /** A step that was decided. */
  const resolve = (member: number, m: number, o: number, code: number): void => {
    const late =
      code <= c.FORGET && (code < c.STOP || (code === c.FORGET && options.strays !== 'start_slave') || options.lateCommands === true);
    const name = NAMES[code] ?? '';
    if (late) {
      begin();
      t[m + f.DOING] = code;
      emit(`decides: ${name}`, member);
      return;
    }
    const request = c.REQUEST[code];
    if (request !== undefined) {
      begin();
      if (from[m + f.VIEW] !== 0) {
        mind.remember(t, member, code, 'failed');
        emit(`sends ${name} for an index that is over`, member);
        return;
      }
      t[m + f.REQUESTS] = t[m + f.REQUESTS]! | request;
      if (c.isAwaited(code)) t[m + f.DOING] = code;
      else mind.remember(t, member, code, 'unknown');
      emit(`sends ${name}`, member);
      return;
    }
    begin();
    switch (code) {
      case c.PUBLISH_BOOT:
      case c.PUBLISH_READY:
        mind.remember(t, member, code, 'unknown');
        if (code === c.PUBLISH_READY) t[m + f.NOTED] = 1;
        if (options.promptPublications === true) {
          dataChanged(member);
          t[m + f.READY] = code === c.PUBLISH_BOOT ? 0 : 1;
          t[m + f.BOOT] = 1;
          emit(name, member);
          return;
        }
        t[m + f.PUBLISHING] = t[m + f.PUBLISHING]! | (code === c.PUBLISH_BOOT ? c.PUB_BOOT : c.PUB_READY);
        emit(`sends ${name}`, member);
        return;
      case c.KILL:
        if (!world.sigkill) release(m);
        die(member);
        emit(world.sigkill ? 'kills its engine' : 'ends its engine by SIGTERM', member);
        return;
      case c.SAMPLE:
        mind.remember(t, member, code, 'done', from[m + f.LEN]!);
        emit('samples its position', member);
        return;
      case c.COMPARE:
        if (from[o + f.ENGINE] === 0) return;
        mind.remember(t, member, code, 'done', extendedBy(from, m, o) ? 1 : 2);
        emit('compares itself with the leader', member);
        return;
      case c.CLONE:
        clone(member, m, o);
        return;
      case c.KILL_USERS:
        release(m);
        emit('sends users away', member);
        return;
      case c.ADOPT:
        t[m + f.STRAY] = 0;
        mind.remember(t, member, code, 'done');
        emit('ends what a former life has left', member);
        return;
      case c.LEAVE:
        t[m + f.IO] = 0;
        emit(name, member);
        return;
      case c.DRAIN:
        if (from[m + f.SEMI_SYNC] === 1) {
          mind.remember(t, member, code, 'failed');
          emit('cannot apply its relay log: each commit waits for a slave', member);
          return;
        }
        command(m, code);
        mind.remember(t, member, code, 'done');
        emit(name, member);
        return;
      default:
        command(m, code);
        mind.remember(t, member, code, 'done');
        emit(name, member);
    }
  };

  const clone = (member: number, m: number, o: number): void => {
    if (from[o + f.ENGINE] === 0 || from[o + f.HAS_DATA] === 0 || from[o + f.WHOLE] === 0) return;
    let least = from[o + f.LEN]!;
    while (least > 0 && ((from[o + f.PENDING]! >> (from[o + f.LOG + least - 1]! - 1)) & 1) === 1) least--;
    for (let length = least; length <= from[o + f.LEN]!; length++) {
      begin();
      for (let k = 0; k < length; k++) t[m + f.LOG + k] = from[o + f.LOG + k]!;
      t[m + f.LEN] = length;
      t[m + f.HAS_DATA] = 1;
      t[m + f.WHOLE] = 1;
      t[m + f.DRAINED] = 1;
      t[m + f.WAS_MASTER] = 0;
      mind.remember(t, member, c.CLONE, 'done');
      mind.forget(t, member);
      emit('has taken a copy of the leader', member);
    }
  };

  /** A step that was decided at some time is done now. */
  const perform = (member: number, m: number, code: number): void => {
    const running = from[m + f.ENGINE] === 1;
    const starts = code <= c.START_CUT_MASTER;
    if (c.isAwaited(code)) {
      begin();
      t[m + f.DOING] = 0;
      mind.remember(t, member, code, 'unknown');
      emit(`gives up waiting for the answer to ${NAMES[code]}`, member);
      return;
    }
    if ((c.isCommand(code) && !running) || (starts && running)) return;
    const fails = (label: string): void => {
      begin();
      t[m + f.DOING] = 0;
      emit(label, member);
    };
    const done = (label: string): void => {
      t[m + f.DOING] = 0;
      mind.remember(t, member, code, 'done');
      emit(label, member);
    };
    switch (code) {
      case c.START_MASTER:
      case c.START_PLAIN: {
        if (from[m + f.HAS_DATA] === 0 && guards.generation && guards.generationAgain) {
          fails('finds no data to start its engine on');
          return;
        }
        begin();
        t[m + f.HAS_DATA] = 1;
        up(m, code === c.START_MASTER ? 1 : 0);
        if (!world.skipSlaveStart && from[f.LEADER] !== member) {
          loseUndrained(m);
          t[m + f.IO] = 1;
          t[m + f.SQL] = 1;
        }
        done(NAMES[code]!);
        return;
      }
      case c.START_CUT:
      case c.START_CUT_MASTER:
        if (from[m + f.HAS_DATA] === 0) {
          fails('finds no data to start its engine on');
          return;
        }
        for (let length = 0; length <= from[m + f.LEN]!; length++) {
          begin();
          f.cut(t, m, length);
          t[m + f.DRAINED] = 1;
          up(m, code === c.START_CUT_MASTER ? 1 : 0);
          done(`${NAMES[code]} and keeps ${length} of ${from[m + f.LEN]}`);
        }
        return;
      case c.WIPE:
        begin();
        wipe(member);
        done('throws its data away');
        return;
      case c.READONLY:
        if (from[m + f.PENDING] !== 0) {
          fails('does not become read-only');
          return;
        }
        break;
      case c.DRAIN:
        if (from[m + f.SEMI_SYNC] === 1) {
          fails('cannot apply its relay log: each commit waits for a slave');
          return;
        }
        break;
    }
    begin();
    command(m, code);
    done(NAMES[code]!);
  };

  const command = (m: number, code: number): void => {
    switch (code) {
      case c.ASYNC:
        release(m);
        t[m + f.SEMI_SYNC] = 0;
        break;
      case c.SEMI:
        t[m + f.SEMI_SYNC] = 1;
        break;
      case c.MARK:
        t[m + f.WAS_MASTER] = 1;
        break;
      case c.UNMARK:
        t[m + f.WAS_MASTER] = 0;
        break;
      case c.READONLY:
        t[m + f.READ_ONLY] = 1;
        break;
      case c.WRITABLE:
        t[m + f.READ_ONLY] = 0;
        if (f.at(t[f.LEADER]!) === m && t[f.PROMOTING] === 0) {
          if (lacksAcked(m)) wrong = 'I3: a leader that lacks an acknowledged transaction takes writes';
          if (t[m + f.WHOLE] === 0) wrong = 'I3: a leader without data takes writes';
        }
        break;
      case c.FOLLOW:
        if (t[m + f.SQL] === 0) loseUndrained(m);
        t[m + f.IO] = 1;
        t[m + f.SQL] = 1;
        if (world.notedBeforeFollow) t[m + f.NOTED] = 1;
        break;
      case c.STOP:
        t[m + f.IO] = 0;
        if (!world.notedUntilApplied) t[m + f.NOTED] = 0;
        break;
      case c.DRAIN:
        t[m + f.DRAINED] = 1;
        break;
      case c.FORGET:
        loseUndrained(m);
        t[m + f.IO] = 0;
        t[m + f.SQL] = 0;
        t[m + f.NOTED] = 0;
        // A START SLAVE that comes later finds no master.
        if (t[m + f.STRAY] === 3) t[m + f.STRAY] = 0;
        break;
    }
  };

  return {
    options,
    mind,
    initial() {
      const s = f.newState();
      s[f.SYNC] = 1;
      for (let member = 0; member < 2; member++) {
        const m = f.at(member);
        for (const field of [f.ENGINE, f.DRAINED, f.GEN_OK, f.HAS_DATA, f.WHOLE, f.BOOT]) s[m + field] = 1;
        mind.forget(s, member);
      }
      const [leader, slave] = [f.at(0), f.at(1)];
      for (const field of [f.SEMI_SYNC, f.WAS_MASTER]) s[leader + field] = 1;
      for (const field of [f.READ_ONLY, f.SQL, f.IO, f.CONNECTED, f.READY, f.NOTED]) s[slave + field] = 1;
      canonical(s, keepStaleReady);
      return s;
    },
    expand(state, emitTo) {
      from = state;
      send = emitTo;
      flush(t, begin, emit, from);
      for (let member = 0; member < 2; member++) {
        const m = f.at(member);
        const o = f.at(1 - member);
        clients(member, m);
        replication(member, m, o);
        endings(member, m);
        consul(member, m);
        sidecar(member, m, o);
      }
    },
  };
}

/** The first transaction is durable on both and waits nowhere: it is common history from now on. */
function flush(t: f.State, begin: () => void, emit: (label: string, member: number) => void, from: f.State): void {
  const id = from[f.at(0) + f.LOG]!;
  if (id === 0 || from[f.at(1) + f.LOG] !== id) return;
  for (let member = 0; member < 2; member++) {
    const m = f.at(member);
    if (((from[m + f.PENDING]! >> (id - 1)) & 1) === 1 || from[m + f.WHOLE] === 0) return;
    if (from[m + f.DRAINED] === 0 && from[m + f.LEN] === 1) return;
  }
  begin();
  for (let member = 0; member < 2; member++) {
    const m = f.at(member);
    const length = t[m + f.LEN]!;
    for (let k = 1; k < length; k++) t[m + f.LOG + k - 1] = t[m + f.LOG + k]!;
    f.cut(t, m, length - 1);
    if (t[m + f.POSITION] !== 0) t[m + f.POSITION] = t[m + f.POSITION]! - 1;
    if (t[m + f.ACK_IN] !== 0) t[m + f.ACK_IN] = t[m + f.ACK_IN]! - 1;
  }
  t[f.ACKED] = t[f.ACKED]! & ~(1 << (id - 1));
  emit('the first transaction is durable on both', 0);
}

/** What GTIDs tell: the other has a transaction of the same author at the place of our last one. */
function extendedBy(s: f.State, m: number, o: number): boolean {
  const length = s[m + f.LEN]!;
  if (length > s[o + f.LEN]!) return false;
  if (length === 0) return true;
  const author = (id: number) => (s[f.AUTHOR]! >> (id - 1)) & 1;
  return author(s[m + f.LOG + length - 1]!) === author(s[o + f.LOG + length - 1]!);
}

const STRAY_OF: Readonly<Record<number, number>> = { [c.ASYNC]: 1, [c.WRITABLE]: 2, [c.FOLLOW]: 3 };

const NAMES: Readonly<Record<number, string>> = {
  [c.START_MASTER]: 'starts its engine, semi-sync on',
  [c.START_PLAIN]: 'starts its engine, semi-sync off',
  [c.START_CUT]: 'starts its engine truncating',
  [c.START_CUT_MASTER]: 'starts its engine truncating, semi-sync on',
  [c.ASYNC]: 'semi-sync off',
  [c.SEMI]: 'semi-sync on',
  [c.MARK]: 'notes that it led',
  [c.UNMARK]: 'no longer notes that it led',
  [c.WRITABLE]: 'read-only off',
  [c.READONLY]: 'read-only on',
  [c.FOLLOW]: 'CHANGE MASTER, START SLAVE',
  [c.WIPE]: 'R2 wipe',
  [c.STOP]: 'P2 stops receiving',
  [c.DRAIN]: 'applies its relay log',
  [c.FORGET]: 'P4 forgets its master',
  [c.WRITE_NONE]: 'F1 (no sync slave)',
  [c.WRITE_CAND]: 'B1 (candidate)',
  [c.WRITE_OPEN]: 'P5 (open)',
  [c.WRITE_SYNC]: 'B3 (sync slave)',
  [c.WRITE_PROMOTE]: 'P1 (promoting)',
  [c.WRITE_BACK]: 'T (take back)',
  [c.WRITE_WITHDRAW]: 'R1 (withdraw)',
  [c.PUBLISH_BOOT]: 'data: boot, not ready',
  [c.PUBLISH_READY]: 'data: ready',
  [c.LEAVE]: 'stops receiving from who does not lead',
};
