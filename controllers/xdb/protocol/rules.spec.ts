import { describe, expect, it } from 'vitest';
import { decide } from '#xdb/protocol/decide.ts';
import { DATA_INDEX, type Difference, EPOCH, INDEX, ref, situation } from '#xdb/protocol/spec-lib/situations.ts';
import { BUDGETS } from '#xdb/protocol/types.ts';

/** One example or more of each rule, by its letter in docs/xdb-protocol.md: what differs from a whole pair, and the step that follows. What holds in every situation: decide.spec.ts. */

/** The step without its sentence, which is for people. */
function step(difference: Difference): Record<string, unknown> {
  const { records, local } = situation(difference);
  const { reason, ...rest } = decide(records, local, BUDGETS);
  expect(reason).not.toBe('');
  return rest;
}

const down = { state: 'down', ageMs: 60_000 } as const;
const promoting = { leader: ref('a-2'), sync: null, prev: ref('a-1'), state: 'promoting' as const };
const compared = { gen: 'gen-a-1', epoch: EPOCH, result: 'contained' as const };
const alone = { sync: null };
const dead = { leader: { dead: true, heard: false } };
const back = { candidate: ref('a-2'), candidateIndex: DATA_INDEX['a-2']!, casIndex: INDEX, g: '0-1-7' };

describe('a whole pair', () => {
  it('has nothing to do', () => {
    expect(step({})).toEqual({ rule: 'idle', do: 'wait' });
    expect(step({ me: 'a-2' })).toEqual({ rule: 'idle', do: 'wait' });
  });
});

describe('A: the sidecar and its engine', () => {
  it('A1: ends what a former life left before anything else, and kills an engine where that does not end', () => {
    expect(step({ memory: { adopted: false } })).toEqual({ rule: 'A1', do: 'adopt' });
    expect(step({ memory: { adopted: false, adoptRefused: true } })).toEqual({ rule: 'A1', do: 'kill' });
  });

  it('A1: an engine that hangs is killed', () => {
    expect(step({ engine: { state: 'unreachable', ageMs: BUDGETS.unreachableMs } })).toEqual({ rule: 'A1', do: 'kill' });
    expect(step({ engine: { state: 'unreachable', ageMs: BUDGETS.unreachableMs - 1 } }).do).toBe('wait');
  });

  it('A2: what is remembered of another start of the engine is worth nothing', () => {
    expect(step({ engine: { instance: 'another' } })).toEqual({ rule: 'A1', do: 'adopt' });
  });
});

describe('S: start', () => {
  it('S0: nothing is started by no record or an old one', () => {
    const { local } = situation({ engine: down });
    expect(decide(undefined, local, BUDGETS)).toMatchObject({ rule: 'S0', do: 'wait' });
    expect(step({ engine: down, sync: alone, local: { consulAgeMs: BUDGETS.consulMs } })).toEqual({ rule: 'S0', do: 'wait' });
  });

  it('S1: the leader keeps everything and waits for a slave from the first moment on', () => {
    expect(step({ engine: down, sync: alone })).toEqual({ rule: 'S1', do: 'start', role: 'MASTER', semiSyncMaster: true });
  });

  it('S1: a promoter keeps everything and does not wait: it has to apply what it received (P3)', () => {
    expect(step({ me: 'a-2', engine: down, sync: promoting })).toEqual({ rule: 'S1', do: 'start', role: 'MASTER', semiSyncMaster: false });
  });

  it('S1: a leader leaves its engine down for a moment where its sync slave is there to succeed it', () => {
    expect(step({ engine: { state: 'down', ageMs: 0 } })).toEqual({ rule: 'S1', do: 'wait' });
    expect(step({ engine: down }).do).toBe('start');
    expect(step({ engine: { state: 'down', ageMs: 0 }, records: { paused: true } }).do).toBe('start');
    expect(step({ engine: { state: 'down', ageMs: 0 }, records: { present: ['a-1'] } }).do).toBe('start');
  });

  it('S2: who led before cuts off what nobody acknowledged, but not while somebody promotes', () => {
    expect(step({ me: 'a-2', engine: down, disk: { wasMaster: true } })).toEqual({
      ...{ rule: 'S2', do: 'start', role: 'SLAVE', semiSyncMaster: false },
    });
    expect(step({ engine: down, sync: promoting, disk: { gen: 'gen-other', wasMaster: true } })).toEqual({ rule: 'S2', do: 'wait' });
    expect(step({ engine: down, sync: promoting })).toEqual({ rule: 'T', do: 'wait' });
  });

  it('S3: a slave keeps everything', () => {
    expect(step({ me: 'a-2', engine: down })).toEqual({ rule: 'S3', do: 'start', role: 'MASTER', semiSyncMaster: false });
  });

  it('S4: without data nothing is made up: a copy is taken, and of an open leader only', () => {
    const none = { gen: undefined };
    expect(step({ me: 'a-2', engine: down, sync: alone, disk: none, data: { 'a-2': undefined } })).toEqual({
      rule: 'R3',
      do: 'clone',
      leader: 'a-1',
    });
    expect(step({ me: 'a-1', engine: down, sync: { ...promoting, prev: null }, disk: none })).toEqual({ rule: 'S4', do: 'wait' });
    expect(step({ engine: down, disk: none })).toMatchObject({ rule: 'S4', do: 'wait', alarm: expect.stringMatching(/^U1/) });
  });
});

describe('birth', () => {
  const unborn: Difference = {
    sync: 'missing',
    engine: down,
    disk: { gen: undefined, rev: 0, epoch: 0 },
    data: { 'a-1': undefined, 'a-2': undefined },
  };
  const birth = { value: { member: 'a-1', done: false }, index: 5 };

  it('the one that is named makes the data, then the record; all others wait', () => {
    expect(step({ ...unborn, records: { birth } })).toEqual({ rule: 'birth', do: 'initialise' });
    expect(step({ ...unborn, me: 'a-2', records: { birth } })).toEqual({ rule: 'S4', do: 'wait' });
    expect(step({ ...unborn, disk: { gen: 'g', rev: 0, epoch: 0 }, records: { birth } })).toMatchObject({
      ...{ rule: 'birth', do: 'write' },
      write: { next: { leader: { id: 'a-1', gen: 'g' }, sync: null, cand: null, prev: null, state: 'open', epoch: 1 }, at: 0, birth: 5 },
    });
  });

  it('K1: not again where it was, nor where this member has seen a record', () => {
    expect(step({ ...unborn, records: { birth: { ...birth, value: { member: 'a-1', done: true } } } })).toMatchObject({
      rule: 'K1',
      do: 'wait',
    });
    expect(step({ ...unborn, disk: { gen: undefined, rev: 3, epoch: 1 }, records: { birth } })).toMatchObject({ rule: 'K1', do: 'wait' });
  });
});

describe('O: a leader opens', () => {
  const shut: Difference = { engine: { readOnly: true } };

  it('O1: only its sync slave may acknowledge; replicas, which never do, may follow', () => {
    expect(step({ engine: { readOnly: true, openAccounts: ['a-2', 'a-3'] } })).toEqual({ rule: 'O1', do: 'allow_dumps', members: ['a-2'] });
    expect(step({ ...shut, records: { members: ['a-1', 'a-2', 'a-3'], replicas: ['a-3'] } })).toEqual({
      ...{ rule: 'O1', do: 'allow_dumps', members: ['a-2', 'a-3'] },
    });
  });

  it('O2: semi-sync is on before it is writable', () => {
    expect(step({ engine: { readOnly: true, semiSyncMaster: false } })).toEqual({ rule: 'O2', do: 'semi_sync_master', on: true });
  });

  it('O3: it is noted on the disk that it led', () => {
    expect(step({ ...shut, disk: { wasMaster: false } })).toEqual({ rule: 'O3', do: 'mark_master', was: true });
  });

  it('O4: then it is writable', () => {
    expect(step(shut)).toEqual({ rule: 'O4', do: 'read_only', on: false });
  });

  it('O4: not by records that are old, without a copy that the record means, on a full disk', () => {
    expect(step({ ...shut, local: { consulAgeMs: BUDGETS.consulMs } })).toEqual({ rule: 'S0', do: 'wait' });
    expect(step({ ...shut, disk: { gen: 'other' } })).toEqual({ rule: 'G1', do: 'kill' });
    expect(step({ ...shut, local: { diskFull: true } })).toEqual({ rule: 'disk', do: 'wait' });
  });

  it('alone: by a record of its own that says so, and semi-sync off (fast F)', () => {
    const open = { readOnly: true, near: [] };
    expect(step({ sync: alone, engine: open })).toMatchObject({
      rule: 'F1',
      do: 'write',
      write: { next: { sync: null, cand: null }, at: INDEX },
    });
    expect(step({ sync: alone, engine: open, memory: { noneIndex: INDEX } })).toMatchObject({
      rule: 'F2',
      do: 'semi_sync_master',
      on: false,
    });
    expect(step({ sync: alone, engine: { ...open, semiSyncMaster: false }, memory: { noneIndex: INDEX } })).toEqual({
      rule: 'O4',
      do: 'read_only',
      on: false,
    });
    expect(step({ sync: alone, engine: { ...open, semiSyncMaster: false }, memory: { noneIndex: INDEX - 1 } }).rule).toBe('F1');
  });
});

describe('F: fall back', () => {
  const waiting = { waiters: 2, waitAgeMs: BUDGETS.waitMs };

  it('F1: the record says so first, F2: then commits are let go', () => {
    expect(step({ engine: waiting })).toMatchObject({
      rule: 'F1',
      do: 'write',
      write: { next: { leader: ref('a-1'), sync: null, cand: null, state: 'open' } },
    });
    expect(step({ sync: alone, engine: waiting })).toMatchObject({ rule: 'F1' });
    expect(step({ sync: alone, engine: waiting, memory: { noneIndex: INDEX } })).toMatchObject({ rule: 'F2', on: false });
    expect(step({ engine: { waiters: 2, waitAgeMs: BUDGETS.waitMs - 1 } }).do).toBe('wait');
  });

  it('H13: also when the engine did not keep to it', () => {
    expect(step({ engine: { semiSyncLapsed: true } })).toMatchObject({ rule: 'F1' });
    expect(step({ engine: { semiSyncMaster: false } })).toMatchObject({ rule: 'F1' });
  });

  it('U4: killed where the record cannot be changed', () => {
    expect(step({ engine: { waiters: 2, waitAgeMs: BUDGETS.killMs - 1 }, local: { consulAgeMs: 60_000 } }).do).toBe('wait');
    expect(step({ engine: { waiters: 2, waitAgeMs: BUDGETS.killMs }, local: { consulAgeMs: 60_000 } })).toEqual({ rule: 'U4', do: 'kill' });
    // One step away from a proper end it is not.
    expect(step({ sync: alone, engine: { waiters: 2, waitAgeMs: BUDGETS.killMs }, memory: { noneIndex: INDEX } })).toMatchObject({
      rule: 'F2',
    });
  });

  it('H10: nothing is changed while Consul is away and the slave acknowledges', () => {
    expect(step({ local: { consulAgeMs: 3_600_000, session: false } })).toEqual({ rule: 'idle', do: 'wait' });
    expect(step({ records: { lockHolder: undefined }, local: { consulAgeMs: 3_600_000 } })).toEqual({ rule: 'S0', do: 'wait' });
  });
});

describe('B: back to sync', () => {
  const open = { semiSyncMaster: false };
  const on = { semiSyncMaster: true };

  it('B1: the candidate is written down, with its data as they are now', () => {
    expect(step({ sync: alone, engine: open })).toMatchObject({
      ...{ rule: 'B1', do: 'write' },
      write: { next: { sync: null, cand: ref('a-2') }, at: INDEX, checkData: { member: 'a-2', index: DATA_INDEX['a-2'] } },
    });
  });

  it('B1: nobody who is not ready in this epoch, not near, a replica, or too soon after F', () => {
    for (const difference of [
      { data: { 'a-2': { ready: null } } },
      { data: { 'a-2': { ready: EPOCH - 1 } } },
      { engine: { ...open, near: [] } },
      { records: { replicas: ['a-2'] } },
      { local: { fallBackAgeMs: 0 } },
    ] satisfies Difference[]) {
      expect(step({ sync: alone, engine: open, ...difference }).rule).not.toBe('B1');
    }
  });

  it('B2: everybody else is shut out, then semi-sync, then the position, then the wait, then B3', () => {
    const sync = { sync: null, cand: ref('a-2') };
    const b = { back: { ...back, g: undefined } };
    expect(step({ sync, engine: { ...open, openAccounts: ['a-2', 'a-3'] }, memory: b })).toEqual({
      rule: 'B2',
      do: 'allow_dumps',
      members: ['a-2'],
    });
    expect(step({ sync, engine: { ...open, dumps: ['a-2', 'a-3'] }, memory: b }).rule).toBe('B2');
    expect(step({ sync, engine: open, memory: b })).toEqual({ rule: 'B', do: 'semi_sync_master', on: true });
    expect(step({ sync, engine: on, memory: b })).toEqual({ rule: 'B', do: 'sample' });
    expect(step({ sync, engine: on, memory: { back } })).toEqual({ rule: 'B', do: 'wait' });
    expect(step({ sync, engine: { ...on, candidateReached: true }, memory: { back } })).toMatchObject({
      ...{ rule: 'B3', do: 'write' },
      write: { next: { sync: ref('a-2'), cand: null }, at: INDEX, checkData: { member: 'a-2', index: DATA_INDEX['a-2'] } },
    });
  });

  it('B3: from the top when the record or the candidate is another', () => {
    const sync = { sync: null, cand: ref('a-2') };
    const engine = { ...on, candidateReached: true };
    expect(step({ sync, engine, memory: { back: { ...back, casIndex: INDEX - 1 } } }).rule).toBe('B1');
    expect(step({ sync, engine, memory: { back: { ...back, candidateIndex: 1 } } }).rule).toBe('B1');
  });
});

describe('P: promotion', () => {
  it('P1: the sync slave writes itself down, takes the lock, and names who led', () => {
    expect(step({ me: 'a-2', local: dead })).toMatchObject({
      ...{ rule: 'P1', do: 'write' },
      write: {
        next: { leader: ref('a-2'), prev: ref('a-1'), sync: null, cand: null, state: 'promoting', epoch: EPOCH + 1 },
        at: INDEX,
        takeLock: true,
      },
    });
  });

  it('P1: the leader is found dead, or has lost its session and is not heard, or orders it', () => {
    expect(step({ me: 'a-2', records: { lockHolder: undefined }, local: { leader: { dead: false, heard: false } } }).rule).toBe('P1');
    expect(step({ me: 'a-2', records: { lockHolder: undefined } }).rule).toBe('idle');
    expect(step({ me: 'a-2', move: { state: 'blocked' }, engine: { moveReached: true } }).rule).toBe('P1');
    expect(step({ me: 'a-2', move: { state: 'blocked' } }).rule).toBe('idle');
    expect(step({ me: 'a-2', move: { kind: 'failover' } }).rule).toBe('P1');
    expect(step({ me: 'a-2', records: { paused: true }, local: dead }).rule).not.toBe('P1');
  });

  it('P1: nobody else, and not with other data, not without a session', () => {
    expect(step({ me: 'a-2', sync: alone, local: dead }).rule).not.toBe('P1');
    expect(step({ me: 'a-2', sync: { sync: { id: 'a-2', gen: 'gone' } }, local: dead }).rule).not.toBe('P1');
    expect(step({ me: 'a-2', local: { ...dead, session: false } }).rule).not.toBe('P1');
    expect(step({ me: 'a-2', records: { replicas: ['a-2'] }, local: dead }).rule).not.toBe('P1');
  });

  it('H4, U7: not one whose threads have stopped, or that is far behind', () => {
    expect(step({ me: 'a-2', slave: { broken: '1062' }, local: dead })).toMatchObject({
      rule: 'P',
      do: 'wait',
      alarm: expect.stringMatching(/^U7/),
    });
    expect(step({ me: 'a-2', slave: { lagSeconds: BUDGETS.lagSeconds + 1 }, local: dead })).toEqual({ rule: 'P', do: 'wait' });
  });

  it('K2: not one that lacks what it acknowledged, whoever wants it', () => {
    const engine = { readOnly: true, lacks: { acked: '0-1-9', received: '0-1-7' } };
    const refused = { rule: 'K2', do: 'wait', alarm: expect.stringMatching(/^K2.*0-1-9.*0-1-7/) };
    expect(step({ me: 'a-2', engine, local: dead })).toMatchObject(refused);
    expect(step({ me: 'a-2', engine, move: { kind: 'failover' } })).toMatchObject(refused);
    expect(step({ me: 'a-2', engine: { ...engine, moveReached: true }, move: { state: 'blocked' } })).toMatchObject(refused);
    // While its leader is there nothing of it is needed, and an operator's word ends it.
    expect(step({ me: 'a-2', engine }).rule).toBe('idle');
    expect(step({ me: 'a-2', sync: promoting, engine }).rule).toBe('P2');
  });

  it('P2 to P5: from the top, one after another', () => {
    const at = (difference: Difference) =>
      step({ me: 'a-2', sync: promoting, engine: { readOnly: true, semiSyncMaster: false }, ...difference });
    const done = { stoppedReceiving: EPOCH, forgotten: EPOCH };
    const off = { readOnly: true, semiSyncMaster: false };
    expect(at({})).toEqual({ rule: 'P2', do: 'stop_receiving', epoch: EPOCH });
    expect(at({ memory: { stoppedReceiving: EPOCH - 1 } }).rule).toBe('P2');
    expect(at({ engine: { ...off, relayUnapplied: true }, memory: done })).toEqual({ rule: 'P3', do: 'drain' });
    expect(at({ engine: off, slave: { drained: false }, memory: done })).toEqual({ rule: 'P3', do: 'drain' });
    expect(at({ engine: off, slave: { drained: false, broken: '1062' }, memory: done })).toMatchObject({
      rule: 'P3',
      do: 'wait',
      alarm: expect.stringMatching(/^U7/),
    });
    expect(at({ engine: off, memory: { stoppedReceiving: EPOCH } })).toEqual({ rule: 'P4', do: 'forget_master', epoch: EPOCH });
    expect(at({ engine: off, memory: done })).toEqual({ rule: 'P4', do: 'semi_sync_master', on: true });
    expect(at({ engine: { readOnly: true, semiSyncMaster: true }, memory: done })).toMatchObject({
      ...{ rule: 'P5', do: 'write' },
      write: { next: { leader: ref('a-2'), sync: null, prev: null, state: 'open', epoch: EPOCH }, at: INDEX },
    });
  });
});

describe('T: take back', () => {
  it('the one that led before leads again, with its successor as sync slave, after a while', () => {
    const late = { promotingAgeMs: 6 * BUDGETS.takeBackMs };
    const engines: Difference['engine'][] = [down, { readOnly: true, semiSyncMaster: true }];
    for (const engine of engines) {
      expect(step({ sync: promoting, engine, local: late })).toMatchObject({
        ...{ rule: 'T', do: 'write' },
        write: { next: { leader: ref('a-1'), sync: ref('a-2'), prev: null, state: 'open', epoch: EPOCH + 1 }, at: INDEX },
      });
      expect(step({ sync: promoting, engine, local: { promotingAgeMs: BUDGETS.takeBackMs } })).toEqual({ rule: 'T', do: 'wait' });
    }
    expect(step({ sync: promoting, engine: down, records: { present: ['a-1'] }, local: { promotingAgeMs: BUDGETS.takeBackMs } }).rule).toBe(
      'T',
    );
    expect(
      step({ sync: { ...promoting, prev: { id: 'a-1', gen: 'gone' } }, engine: down, disk: { wasMaster: true }, local: late }).rule,
    ).toBe('S2');
  });
});

describe('D: deposed', () => {
  const other = { leader: ref('a-2'), sync: null };

  it('D1: killed, if it is writable or anybody waits', () => {
    expect(step({ sync: other, engine: { readOnly: false } })).toEqual({ rule: 'D1', do: 'kill' });
    expect(step({ sync: other, engine: { readOnly: true, waiters: 1 } })).toEqual({ rule: 'D1', do: 'kill' });
    // Before A1, which could wait for what waits.
    expect(step({ sync: other, engine: { readOnly: false }, memory: { adopted: false } })).toEqual({ rule: 'D1', do: 'kill' });
    // By old records too.
    expect(step({ sync: other, engine: { readOnly: false }, local: { consulAgeMs: 60_000 } })).toEqual({ rule: 'D1', do: 'kill' });
  });

  it('D2: quiet already, it stays as it is until its successor is open, then no longer waits for anybody', () => {
    const quiet = { readOnly: true, semiSyncMaster: true };
    expect(step({ sync: promoting, engine: quiet, disk: { gen: 'gen-b' } })).toEqual({ rule: 'D2', do: 'wait' });
    expect(step({ sync: other, engine: quiet })).toEqual({ rule: 'D2', do: 'semi_sync_master', on: false });
  });

  it('G1: the record means other data of this member', () => {
    expect(step({ disk: { gen: 'other' } })).toEqual({ rule: 'G1', do: 'kill' });
  });
});

describe('J: follow', () => {
  const free = { of: undefined, io: 'stopped' as const };

  it('J: nobody but the leader is received from', () => {
    expect(step({ me: 'a-2', slave: { of: 'a-3' } })).toEqual({ rule: 'J', do: 'stop_receiving', epoch: EPOCH });
    expect(step({ me: 'a-2', slave: { outside: true, of: undefined } })).toEqual({ rule: 'J', do: 'stop_receiving', epoch: EPOCH });
  });

  it('J1: what was received is applied before anything else is done with it', () => {
    expect(step({ me: 'a-2', engine: { relayUnapplied: true }, slave: free })).toEqual({ rule: 'J1', do: 'drain' });
  });

  it('J2: its start is known, then it is compared, then it follows', () => {
    const data = { 'a-2': { ready: null } };
    expect(step({ me: 'a-2', slave: free, data: { 'a-2': { boot: 'before' } } })).toEqual({
      rule: 'J3',
      do: 'publish',
      ready: null,
      at: DATA_INDEX['a-2'],
    });
    expect(step({ me: 'a-2', slave: free, data })).toEqual({ rule: 'J2', do: 'compare', leader: 'a-1', gen: 'gen-a-1', epoch: EPOCH });
    expect(step({ me: 'a-2', slave: free, data, memory: { compared } })).toEqual({
      rule: 'J2',
      do: 'follow',
      leader: 'a-1',
      semiSync: true,
    });
    expect(step({ me: 'a-2', slave: free, data, memory: { compared }, records: { replicas: ['a-2'] } })).toMatchObject({
      do: 'follow',
      semiSync: false,
    });
    expect(step({ me: 'a-2', slave: free, data, memory: { compared: { ...compared, epoch: EPOCH - 1 } } }).do).toBe('compare');
    expect(step({ me: 'a-2', slave: free, data, memory: { compared: { ...compared, gen: 'gone' } } }).do).toBe('compare');
  });

  it('J3: connected, then the mark of a leader goes, then it is ready in this epoch', () => {
    const data = { 'a-2': { ready: EPOCH - 1 } };
    expect(step({ me: 'a-2', data, slave: { io: 'connecting' }, memory: { compared } })).toEqual({ rule: 'J', do: 'wait' });
    expect(step({ me: 'a-2', data, disk: { wasMaster: true }, memory: { compared } })).toEqual({
      rule: 'J3',
      do: 'mark_master',
      was: false,
    });
    expect(step({ me: 'a-2', data, memory: { compared } })).toEqual({ rule: 'J3', do: 'publish', ready: EPOCH, at: DATA_INDEX['a-2'] });
  });

  it('J: nobody is followed while promoting', () => {
    expect(step({ me: 'a-2', sync: { ...promoting, leader: ref('a-1'), prev: null }, slave: free })).toEqual({ rule: 'J', do: 'wait' });
  });
});

describe('R: a new copy', () => {
  const diverged = { compared: { ...compared, result: 'diverged' as const } };
  const free = { of: undefined, io: 'stopped' as const };

  it('R1: first nobody may count on the old one, R2: then it goes', () => {
    expect(step({ me: 'a-2', slave: free, memory: diverged })).toMatchObject({
      ...{ rule: 'R1', do: 'write' },
      write: { next: { leader: ref('a-1'), sync: null, cand: null }, at: INDEX, withdrawReady: { at: DATA_INDEX['a-2'] } },
    });
    // Also where nobody does: a late write that would dies by the new index.
    expect(step({ me: 'a-2', sync: alone, slave: free, memory: diverged })).toMatchObject({ rule: 'R1', write: { next: { sync: null } } });
    expect(step({ me: 'a-2', sync: alone, slave: free, memory: { ...diverged, withdrawn: INDEX } })).toEqual({ rule: 'R2', do: 'wipe' });
    expect(step({ me: 'a-2', sync: alone, slave: free, memory: { ...diverged, withdrawn: INDEX - 1 } }).rule).toBe('R1');
  });

  it('R1: for a slave that cannot go on, and one that is to be made anew; never for who may be needed', () => {
    expect(step({ me: 'a-2', slave: { broken: '1236' } }).rule).toBe('R1');
    expect(step({ me: 'a-2', local: { reinit: true } }).rule).toBe('R1');
    expect(step({ me: 'a-2', local: { reinit: true, leader: { dead: true, heard: false } } }).rule).not.toBe('R1');
    expect(step({ local: { reinit: true } }).rule).toBe('idle');
    expect(step({ sync: promoting, engine: { readOnly: true }, memory: diverged, local: { reinit: true } }).rule).toBe('T');
  });

  it('R1, G1: after a start of its host a slave is withdrawn before it follows, leads by nothing, and is not started as one that takes over', () => {
    const disk = { gen: 'renewed' };
    const withdrawn = { rule: 'R1', write: { next: { sync: null }, withdrawReady: { at: DATA_INDEX['a-2'] } } };
    expect(step({ me: 'a-2', disk, engine: down, local: dead })).toMatchObject(withdrawn);
    expect(step({ me: 'a-2', disk, slave: { of: undefined, io: 'stopped' }, local: dead })).toMatchObject(withdrawn);
    expect(step({ me: 'a-2', disk, sync: promoting, engine: down })).toMatchObject({ rule: 'S4', do: 'wait' });
  });

  it('R1: a copy that is gone is withdrawn before R3', () => {
    expect(step({ me: 'a-2', engine: down, disk: { gen: undefined } })).toMatchObject({ rule: 'R1', write: { next: { sync: null } } });
  });
});

describe('W: switchover', () => {
  const move = {};

  it('W1: read-only without a kill, then users are sent away, W2: then the position is written down', () => {
    expect(step({ move })).toEqual({ rule: 'W1', do: 'read_only', on: true, order: 'order' });
    expect(step({ move, engine: { readOnly: true } })).toEqual({ rule: 'W1', do: 'kill_users', order: 'order' });
    expect(step({ move, engine: { readOnly: true, waiters: 1 } })).toEqual({ rule: 'W2', do: 'wait' });
    expect(step({ move, engine: { readOnly: true }, memory: { usersKilled: 'order' } })).toEqual({
      ...{ rule: 'W2', do: 'move', at: 70, state: 'blocked', target: 'a-2', gtid: 'sample' },
    });
  });

  it('W: given up where commits do not make way, where nobody could take over, where the target does not come', () => {
    const failed = { rule: 'W', do: 'move', state: 'failed' };
    expect(step({ move, memory: { blockRefused: 'order' } })).toMatchObject(failed);
    expect(step({ move, engine: { busy: 'a backup' } })).toMatchObject(failed);
    expect(step({ move, sync: alone, engine: { semiSyncMaster: false } })).toMatchObject(failed);
    expect(step({ move: { target: 'a-3' } })).toMatchObject(failed);
    const blocked = { state: 'blocked' as const };
    expect(step({ move: blocked, engine: { readOnly: true }, local: { moveAgeMs: BUDGETS.moveMs } })).toMatchObject(failed);
    expect(step({ move: blocked, engine: { readOnly: true } })).toEqual({ rule: 'W2', do: 'wait' });
  });

  it('W3: the target promotes as ever (P1), and the order is done when it leads', () => {
    expect(
      step({
        me: 'a-2',
        sync: { leader: ref('a-2'), sync: null },
        move: { state: 'blocked' },
        engine: { semiSyncMaster: false, near: [] },
      }),
    ).toMatchObject({
      ...{ rule: 'W', do: 'move', state: 'done' },
    });
  });
});

describe('a planned end', () => {
  // biome-ignore lint/suspicious/noThenProperty: the protocol's word, and nobody awaits it
  const stopping = { stopping: { then: 'leave' as const, ageMs: 0 } };

  it('of a leader: read-only, nobody waits, killed; of a slave: withdrawn first', () => {
    expect(step({ local: stopping })).toEqual({ rule: 'end', do: 'read_only', on: true, order: 'end' });
    expect(step({ local: stopping, engine: { readOnly: true, waiters: 1 } })).toEqual({ rule: 'end', do: 'wait' });
    expect(step({ local: stopping, engine: { readOnly: true } })).toEqual({ rule: 'end', do: 'kill' });
    expect(step({ me: 'a-2', local: stopping })).toMatchObject({ rule: 'R1', write: { next: { sync: null } } });
    expect(step({ me: 'a-2', sync: alone, data: { 'a-2': { ready: null } }, local: stopping })).toEqual({ rule: 'end', do: 'kill' });
    expect(step({ me: 'a-2', engine: down, local: stopping })).toEqual({ rule: 'end', do: 'leave' });
  });
});

describe('a slave of an outside master', () => {
  const upstream = { upstream: 'old-db:3306' };
  const outside = { of: undefined, outside: true, io: 'running' as const, sql: 'running' as const };

  it('is read-only, waits for nobody, and follows', () => {
    expect(step({ records: upstream })).toMatchObject({ rule: 'upstream', do: 'read_only', on: true });
    expect(step({ records: upstream, engine: { readOnly: true } })).toMatchObject({ rule: 'F1' });
    expect(step({ records: upstream, sync: alone, engine: { readOnly: true, semiSyncMaster: false } })).toMatchObject({
      rule: 'upstream',
      do: 'follow_upstream',
    });
    expect(step({ records: upstream, sync: alone, engine: { readOnly: true, semiSyncMaster: false }, slave: outside })).toMatchObject({
      rule: 'upstream',
      do: 'wait',
    });
  });

  it('cut over: applies the rest, without waiting for a slave, and forgets its master', () => {
    const engine = { readOnly: true, semiSyncMaster: false };
    expect(step({ sync: alone, engine, slave: outside })).toMatchObject({ rule: 'upstream', do: 'stop_receiving' });
    const stopped = { ...outside, io: 'stopped' as const, drained: false };
    expect(step({ sync: alone, engine, slave: stopped })).toEqual({ rule: 'upstream', do: 'drain' });
    expect(step({ sync: alone, engine: { readOnly: true, semiSyncMaster: true }, slave: stopped })).toMatchObject({ rule: 'F1' });
    expect(step({ sync: alone, engine, slave: { ...stopped, drained: true } })).toMatchObject({ rule: 'upstream', do: 'forget_master' });
  });
});

describe('K: records that are lost or older', () => {
  it('K1: nothing is started, opened, written or promoted; what runs goes on', () => {
    const old = { rev: 10 };
    expect(step({ disk: old, engine: down })).toMatchObject({ rule: 'K1', do: 'wait', alarm: expect.stringMatching(/^U5/) });
    expect(step({ disk: old })).toMatchObject({ rule: 'K1', do: 'wait' });
    expect(step({ disk: { epoch: EPOCH + 1 }, engine: { readOnly: true } })).toMatchObject({ rule: 'K1', do: 'wait' });
    expect(step({ me: 'a-2', disk: old, local: { leader: { dead: true, heard: false } } })).toMatchObject({ rule: 'K1', do: 'wait' });
    expect(step({ sync: 'missing', engine: down })).toMatchObject({ rule: 'K1', do: 'wait', alarm: expect.stringMatching(/^U5/) });
  });

  it('K1: a record that is written by hand, newer than all have seen, is gone by (docs/xdb-protocol.md, U5)', () => {
    const byHand = { sync: null, rev: 12, epoch: EPOCH + 1 };
    expect(step({ sync: byHand, disk: { rev: 11 }, engine: down })).toMatchObject({ rule: 'S1', do: 'start', role: 'MASTER' });
    expect(step({ me: 'a-2', sync: byHand, disk: { rev: 11, wasMaster: true }, engine: down })).toMatchObject({ rule: 'S2', do: 'start' });
  });

  it('K1: but for a master that the older record does not know, and for commits that wait too long', () => {
    expect(step({ sync: { leader: ref('a-2'), sync: null }, disk: { rev: 10 }, engine: { readOnly: false } })).toEqual({
      rule: 'K1',
      do: 'kill',
    });
    expect(step({ disk: { rev: 10 }, engine: { waiters: 1, waitAgeMs: BUDGETS.killMs } })).toEqual({ rule: 'U4', do: 'kill' });
  });
});
