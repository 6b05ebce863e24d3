import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from '#xdb/protocol/decide.ts';
import { forgetful } from '#xdb/protocol/memory.ts';
import { DATA_INDEX, type Difference, EPOCH, INDEX, ME_INSTANCE, ref, situation } from '#xdb/protocol/spec-lib/situations.ts';
import { BUDGETS, type EngineState, type Local, type Memory, type Records, type RunningEngine, type Step } from '#xdb/protocol/types.ts';

/** What holds of the decision in every situation, also in those that the model never gets into: of replicas, a third member, outside masters, old records, orders, full disks. */

const ME = 'a-1';
const gen = fc.constantFrom('gen-a-1', 'gen-a-1', 'gen-a-1', 'gone');
const anyRef = fc.oneof(
  gen.map((own) => ({ id: ME, gen: own })),
  fc.constantFrom('a-2', 'a-3').map(ref),
);
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 1 });
const orUndefined = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 1 });
const seldom = <T>(value: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
const mostly = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.constantFrom(usual, usual, usual, usual, usual, usual, usual, usual, ...others);
const ids = fc.subarray([ME, 'a-2', 'a-3']);
const age = fc.constantFrom(0, 500, 2500, 9000, 70_000);

const dataOf = (id: string | undefined) =>
  fc.record({
    id: fc.constant(id),
    boot: mostly(ME_INSTANCE, 'before'),
    ready: fc.constantFrom(null, EPOCH, EPOCH, EPOCH - 1),
    gen: mostly('gen-a-1', 'gone'),
  });

const records: fc.Arbitrary<Records> = fc
  .record({
    sync: mostly(true, false),
    leader: fc.oneof(
      { weight: 3, arbitrary: gen.map((own) => ({ id: ME, gen: own })) },
      { weight: 2, arbitrary: fc.constantFrom('a-2', 'a-3').map(ref) },
    ),
    slave: orNull(anyRef),
    cand: orNull(anyRef),
    prev: orNull(anyRef),
    state: mostly<'open' | 'promoting'>('open', 'promoting', 'promoting'),
    rev: mostly(9, 8),
    data: fc.tuple(...[ME, 'a-2', 'a-3'].map((id) => mostly<string | undefined>(id, undefined).chain((there) => dataOf(there)))),
    lockHolder: fc.constantFrom(undefined, ME, 'a-2'),
    present: ids,
    move: seldom(
      fc.record({
        kind: mostly<'switchover' | 'failover'>('switchover', 'failover'),
        target: mostly<string | undefined>('a-2', undefined, ME),
        state: fc.constantFrom<'asked' | 'blocked'>('asked', 'asked', 'blocked'),
      }),
    ),
    birth: fc.constantFrom(undefined, true, false),
    members: mostly([ME, 'a-2'], [ME], [ME, 'a-2', 'a-3']),
    replicas: mostly<string[]>([], ['a-3'], [ME]),
    upstream: mostly<string | undefined>(undefined, 'old-db'),
    paused: mostly(false, true),
  })
  .map(({ sync, leader, slave, cand, prev, state, rev, data, move, birth, ...rest }) => {
    const other = (value: { id: string; gen: string } | null) => (value?.id === leader.id ? null : value);
    const named = { leader, sync: state === 'open' ? other(slave) : null, cand: other(cand), prev: state === 'open' ? null : other(prev) };
    return {
      ...rest,
      sync: sync ? { index: INDEX, value: { v: 1 as const, ...named, state, epoch: EPOCH, rev, nonce: 'n' } } : undefined,
      data: Object.fromEntries(
        data.flatMap(({ id, boot, ready, gen: of }) =>
          id === undefined
            ? []
            : [[id, { index: DATA_INDEX[id]!, value: { v: 1 as const, gen: id === ME ? of : ref(id).gen, boot, ready } }]],
        ),
      ),
      move:
        move === undefined
          ? undefined
          : { index: 70, value: { v: 1 as const, id: 'order', ...move, ...(move.target === undefined ? { target: undefined } : {}) } },
      birth: birth === undefined ? undefined : { index: 5, value: { member: ME, done: birth } },
    } as Records;
  });

const running: fc.Arbitrary<RunningEngine> = fc.record({
  state: fc.constant('running' as const),
  instance: mostly(ME_INSTANCE, 'another'),
  readOnly: fc.boolean(),
  semiSyncMaster: fc.boolean(),
  semiSyncLapsed: mostly(false, true),
  waiters: mostly(0, 1),
  waitAgeMs: age,
  slave: fc.record({
    of: fc.constantFrom(undefined, 'a-2', 'a-3'),
    outside: mostly(false, true),
    io: fc.constantFrom<'running' | 'connecting' | 'stopped'>('running', 'connecting', 'stopped'),
    sql: fc.constantFrom<'running' | 'stopped'>('running', 'stopped'),
    drained: mostly(true, false),
    lagSeconds: mostly<number | null>(0, null, 60),
    broken: mostly<string | undefined>(undefined, '1062'),
  }),
  relayUnapplied: mostly(false, true),
  openAccounts: mostly(['a-2'], [], ['a-2', 'a-3'], ['a-3']),
  dumps: mostly(['a-2'], [], ['a-2', 'a-3']),
  near: ids,
  candidateReached: fc.boolean(),
  moveReached: fc.boolean(),
  busy: mostly<string | undefined>(undefined, 'a backup'),
});

const engine: fc.Arbitrary<EngineState> = fc.oneof(
  { weight: 6, arbitrary: running },
  { weight: 2, arbitrary: age.map((ageMs) => ({ state: 'down' as const, ageMs })) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      age.map((ageMs) => ({ state: 'unreachable' as const, ageMs })),
      fc.constant({ state: 'starting' as const }),
    ),
  },
);

const memory: fc.Arbitrary<Memory> = fc.record({
  instance: fc.constant(ME_INSTANCE),
  adopted: mostly(true, false),
  adoptRefused: mostly(false, true),
  noneIndex: mostly<number | undefined>(INDEX, INDEX - 1, undefined),
  back: orUndefined(
    fc.record({
      candidate: fc.constant(ref('a-2')),
      candidateIndex: mostly(DATA_INDEX['a-2']!, 1),
      casIndex: mostly(INDEX, INDEX - 1),
      g: fc.constantFrom(undefined, '0-1-7'),
    }),
  ),
  stoppedReceiving: mostly<number | undefined>(EPOCH, EPOCH - 1, undefined),
  forgotten: mostly<number | undefined>(EPOCH, EPOCH - 1, undefined),
  withdrawn: fc.constantFrom(undefined, INDEX, INDEX - 1),
  compared: orUndefined(
    fc.record({
      gen: mostly('gen-a-2', 'gone'),
      epoch: mostly(EPOCH, EPOCH - 1),
      result: mostly<'contained' | 'diverged'>('contained', 'diverged', 'diverged'),
    }),
  ),
  usersKilled: fc.constantFrom(undefined, 'order'),
  blockRefused: mostly<string | undefined>(undefined, 'order', 'end'),
  lockRefused: fc.boolean(),
});

const local: fc.Arbitrary<Local> = fc.record({
  me: fc.constant(ME),
  disk: fc.record({
    gen: mostly<string | undefined>('gen-a-1', undefined),
    wasMaster: fc.boolean(),
    rev: mostly(8, 9, 10, 0),
    epoch: mostly(EPOCH, EPOCH + 1, 0),
  }),
  engine,
  memory,
  leader: fc.record({ dead: fc.boolean(), heard: fc.boolean() }),
  consulAgeMs: mostly(0, 60_000),
  session: mostly(true, false),
  // biome-ignore lint/suspicious/noThenProperty: the protocol's word, and nobody awaits it
  stopping: mostly<Local['stopping']>(undefined, { then: 'leave', ageMs: 0 }, { then: 'restart', ageMs: 60_000 }),
  reinit: mostly(false, true),
  diskFull: mostly(false, true),
  promotingAgeMs: age,
  moveAgeMs: age,
  fallBackAgeMs: mostly(Number.POSITIVE_INFINITY, 0),
});

interface Case {
  /** Undefined: never read. */
  records: Records | undefined;
  local: Local;
  step: Step;
  /** Of the record that the step was decided on; only where there is one. */
  sync: NonNullable<Records['sync']>['value'];
  leads: boolean;
  engine: RunningEngine;
  memory: Memory;
}

const CASES = 7000;
const seed = Date.now() % 2 ** 31;

/** Places in the protocol from which rules are met that come last; each case differs from one of them in some fields, chosen at random. */
const PLACES: readonly Difference[] = [
  {},
  { me: ME, sync: { leader: ref('a-2'), sync: ref(ME) } },
  {
    sync: { leader: ref('a-2'), sync: null },
    slave: { of: undefined, io: 'stopped' },
    memory: { compared: { gen: 'gen-a-2', epoch: EPOCH, result: 'contained' } },
  },
  {
    sync: { leader: ref('a-2'), sync: null },
    data: { [ME]: { ready: null } },
    memory: { compared: { gen: 'gen-a-2', epoch: EPOCH, result: 'contained' } },
  },
  { sync: { sync: null, prev: ref('a-2'), state: 'promoting' }, engine: { readOnly: true } },
  {
    sync: { sync: null, cand: ref('a-2') },
    memory: { back: { candidate: ref('a-2'), candidateIndex: DATA_INDEX['a-2']!, casIndex: INDEX, g: undefined } },
  },
  { move: {}, engine: { readOnly: true } },
  { sync: { sync: null }, engine: { readOnly: true, semiSyncMaster: false }, memory: { noneIndex: INDEX } },
  {
    me: ME,
    sync: { leader: ref('a-2'), sync: null },
    memory: { compared: { gen: 'gen-a-2', epoch: EPOCH, result: 'diverged' }, withdrawn: INDEX },
  },
  {
    me: ME,
    sync: { leader: ref('a-2'), sync: null },
    engine: { state: 'down', ageMs: 9000 },
    disk: { gen: undefined },
    data: { [ME]: undefined },
  },
];

/** `usual`, with those fields taken from `other` that `pick` says, one call a field; parts are mixed field by field. */
function mixed<T extends object>(usual: T, other: T, pick: () => boolean, parts: readonly string[]): T {
  const entries = Object.entries(usual).map(([key, value]) => {
    const there = (other as Record<string, unknown>)[key];
    const both = typeof value === 'object' && value !== null && typeof there === 'object' && there !== null;
    const alike = key !== 'engine' || (both && 'state' in value && 'state' in there && value.state === there.state);
    if (parts.includes(key) && both && alike) return [key, mixed(value, there, pick, parts)];
    return [key, pick() ? there : value];
  });
  return Object.fromEntries(entries) as T;
}

const PARTS = ['sync', 'value', 'engine', 'slave', 'memory', 'disk', 'leader'];

/** Situations with their steps; the same for all tests of this file. */
const cases: Case[] = fc
  .sample(
    fc.tuple(records, local, fc.constantFrom(undefined, ...PLACES, ...PLACES), fc.array(fc.nat(11), { minLength: 90, maxLength: 90 })),
    {
      numRuns: CASES,
      seed,
    },
  )
  .map(([anyRecords, anyLocal, place, choices]) => {
    let next = 0;
    const pick = () => choices[next++ % choices.length] === 0;
    const base = place === undefined ? undefined : situation(place);
    const given = base === undefined ? (pick() ? undefined : anyRecords) : mixed(base.records, anyRecords, pick, PARTS);
    const here = base === undefined ? anyLocal : mixed(base.local, anyLocal, pick, PARTS);
    const sync = given?.sync?.value;
    const leads = sync !== undefined && sync.leader.id === ME && sync.leader.gen === here.disk.gen;
    const other = here.engine.state === 'running' && here.engine.instance !== here.memory.instance ? here.engine.instance : undefined;
    const remembered = other === undefined ? here.memory : forgetful(other);
    const step = decide(given, here, BUDGETS);
    return { records: given, local: here, step, sync: sync!, leads, engine: here.engine as RunningEngine, memory: remembered };
  });

/** Calls `check` with those cases whose step `of` is about; there have to be some. */
function everywhere(of: (step: Step) => boolean, check: (seen: Case) => void, known: boolean = true): void {
  let met = 0;
  for (const seen of cases) {
    if (!of(seen.step)) continue;
    met++;
    try {
      if (known) expect(seen.sync).toBeDefined();
      check(seen);
    } catch (error) {
      throw new Error(`seed ${seed}: ${JSON.stringify(seen, undefined, 1)}`, { cause: error });
    }
  }
  expect(met).toBeGreaterThan(0);
}

const does =
  <D extends Step['do']>(what: D, rule?: string) =>
  (step: Step): step is Extract<Step, { do: D }> =>
    step.do === what && (rule === undefined || step.rule === rule);
const same = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((id) => b.includes(id));

describe('decide', () => {
  it('is total, always says why, and changes nothing that it was given', () => {
    for (const { records: given, local: here, step } of cases) {
      expect(step.reason.length).toBeGreaterThan(5);
      const before = JSON.stringify([given, here]);
      expect(JSON.stringify(decide(given, here, BUDGETS))).toBe(JSON.stringify(step));
      expect(JSON.stringify([given, here])).toBe(before);
    }
  });

  it('O4: takes writes only as the open leader that the record means, with its slave awaited or a fresh record that it has none', () => {
    everywhere(
      (step) => step.do === 'read_only' && !step.on,
      ({ records: given, sync, leads, engine: on, memory: m, local: here }) => {
        expect(leads && sync.state === 'open' && given?.upstream === undefined).toBe(true);
        expect(here.disk).toMatchObject({ wasMaster: true });
        expect(here.disk.rev <= sync.rev && here.disk.epoch <= sync.epoch).toBe(true);
        expect(here.consulAgeMs < BUDGETS.consulMs && m.adopted && !here.diskFull).toBe(true);
        if (sync.sync === null) expect([on.semiSyncMaster, m.noneIndex]).toEqual([false, INDEX]);
        else {
          expect(on.semiSyncMaster).toBe(true);
          const allowed = given!.members.filter((id) => id !== ME && (id === sync.sync?.id || given!.replicas.includes(id)));
          expect(same(on.openAccounts, allowed)).toBe(true);
        }
      },
    );
  });

  it('F2, D2: lets commits go only by a fresh record that says so, or where nobody waits and nobody writes', () => {
    everywhere(
      (step) => step.do === 'semi_sync_master' && !step.on,
      ({ sync, leads, engine: on, memory: m, step }) => {
        expect(sync.state).toBe('open');
        if (step.rule === 'F2') expect([leads, sync.sync, m.noneIndex]).toEqual([true, null, INDEX]);
        else expect([step.rule, sync.leader.id === ME, on.readOnly, on.waiters]).toEqual(['D2', false, true, 0]);
      },
    );
  });

  it('kills an engine for these reasons and no other', () => {
    everywhere(
      does('kill'),
      ({ records: given, sync, leads, engine: on, memory: m, local: here, step }) => {
        const dangerous = on.state === 'running' && (!on.readOnly || on.waiters > 0);
        switch (step.rule) {
          case 'D1':
            return expect(leads ? sync.state === 'promoting' && !on.readOnly : dangerous).toBe(true);
          case 'U4':
            return expect(on.waiters > 0 && on.waitAgeMs >= BUDGETS.killMs).toBe(true);
          case 'G1':
            return expect(sync.leader.id === ME && !leads).toBe(true);
          case 'K1':
            return expect(given !== undefined && sync.leader.id !== ME && dangerous).toBe(true);
          case 'A1':
            return expect(here.engine.state === 'unreachable' || m.adoptRefused).toBe(true);
          default:
            expect(step.rule).toBe('end');
            return expect(here.stopping).toBeDefined();
        }
      },
      false,
    );
  });

  it('S: starts only what the record allows, and truncates only who led before an open leader', () => {
    everywhere(does('start'), ({ sync, leads, local: here, step }) => {
      expect(here.engine.state).toBe('down');
      expect(here.disk.gen).toBeDefined();
      expect(here.consulAgeMs < BUDGETS.consulMs && here.disk.rev <= sync.rev && here.disk.epoch <= sync.epoch).toBe(true);
      if (sync.leader.id === ME) expect(leads).toBe(true);
      if (!does('start')(step)) return;
      if (step.role === 'SLAVE') expect([sync.leader.id === ME, here.disk.wasMaster, sync.state]).toEqual([false, true, 'open']);
      expect(step.semiSyncMaster).toBe(leads && sync.state === 'open');
    });
  });

  it('K1, S0: changes nothing by records that are lost, older, or of some time ago', () => {
    const changes: Step['do'][] = [
      'initialise',
      'start',
      'write',
      'publish',
      'move',
      'take_lock',
      'wipe',
      'clone',
      'follow',
      'forget_master',
    ];
    everywhere(
      (step) => changes.includes(step.do),
      ({ records: given, local: here, step }) => {
        expect(here.consulAgeMs < BUDGETS.consulMs && given !== undefined).toBe(true);
        const sync = given?.sync?.value;
        if (sync !== undefined) expect(here.disk.rev <= sync.rev && here.disk.epoch <= sync.epoch).toBe(true);
        else expect([step.rule, here.disk.rev, given?.birth?.value]).toEqual(['birth', 0, { member: ME, done: false }]);
      },
      false,
    );
  });

  it('writes the record at the index that it was read at, and each rule only what is its own', () => {
    everywhere(
      does('write'),
      ({ sync, leads, memory: m, engine: on, local: here, step, records: given }) => {
        if (!does('write')(step)) return;
        const { next, at, takeLock } = step.write;
        if (step.rule === 'birth') return expect(at).toBe(0);
        expect(at).toBe(INDEX);
        const me = { id: ME, gen: here.disk.gen };
        const kept = { leader: sync.leader, epoch: sync.epoch, prev: sync.prev, state: sync.state };
        switch (step.rule) {
          case 'F1':
            expect([leads, sync.state]).toEqual([true, 'open']);
            return expect(next).toEqual({ ...kept, sync: null, cand: null });
          case 'B1':
            expect([leads, sync.state, sync.sync]).toEqual([true, 'open', null]);
            expect(given!.data[next.cand!.id]!.value.ready).toBe(EPOCH);
            return expect(next).toMatchObject({ ...kept, sync: null });
          case 'B3':
            expect([leads, sync.state, on.semiSyncMaster, on.candidateReached, m.back?.casIndex]).toEqual([
              true,
              'open',
              true,
              true,
              INDEX,
            ]);
            expect(step.write.checkData).toEqual({ member: next.sync!.id, index: m.back?.candidateIndex });
            expect(same(on.openAccounts, [next.sync!.id]) && on.dumps.every((id) => id === next.sync!.id)).toBe(true);
            return expect(next).toEqual({ ...kept, sync: m.back?.candidate, cand: null });
          case 'P1':
            expect([sync.sync, sync.state, on.readOnly, takeLock]).toEqual([me, 'open', true, true]);
            expect(given!.replicas).not.toContain(ME);
            return expect(next).toEqual({
              leader: me,
              prev: sync.leader,
              sync: null,
              cand: null,
              state: 'promoting',
              epoch: sync.epoch + 1,
            });
          case 'P5':
            expect([leads, sync.state, m.stoppedReceiving, m.forgotten, on.readOnly]).toEqual([true, 'promoting', EPOCH, EPOCH, true]);
            expect([on.slave.drained, on.relayUnapplied, on.semiSyncMaster]).toEqual([true, false, true]);
            return expect(next).toEqual({ ...kept, prev: null, sync: null, cand: null, state: 'open' });
          case 'T':
            expect([sync.prev, sync.state]).toEqual([me, 'promoting']);
            return expect(next).toEqual({ leader: me, sync: sync.leader, cand: null, prev: null, state: 'open', epoch: sync.epoch + 1 });
          default:
            expect(step.rule).toBe('R1');
            expect(sync.leader.id).not.toBe(ME);
            return expect(next).toEqual({
              ...kept,
              sync: sync.sync?.id === ME ? null : sync.sync,
              cand: sync.sync?.id === ME ? null : sync.cand,
            });
        }
      },
      false,
    );
  });

  it('B2: nobody but the candidate can acknowledge from the sample on', () => {
    everywhere(
      (step) => step.do === 'sample' || (step.do === 'semi_sync_master' && step.rule === 'B'),
      ({ engine: on, memory: m, step }) => {
        expect(same(on.openAccounts, [m.back!.candidate.id]) && on.dumps.every((id) => id === m.back!.candidate.id)).toBe(true);
        if (step.do === 'sample') expect(on.semiSyncMaster).toBe(true);
      },
    );
  });

  it('J: follows the open leader only, compared in this epoch, its own start known, nothing unapplied', () => {
    everywhere(does('follow'), ({ records: given, sync, engine: on, memory: m, step }) => {
      expect([sync.state, on.readOnly, on.semiSyncMaster, on.relayUnapplied]).toEqual(['open', true, false, false]);
      expect(does('follow')(step) && step.leader === sync.leader.id && sync.leader.id !== ME).toBe(true);
      expect(m.compared).toEqual({ gen: sync.leader.gen, epoch: EPOCH, result: 'contained' });
      expect(given!.data[ME]?.value.boot).toBe(on.instance);
    });
  });

  it('J3: is ready only while it follows, and unmarked on its disk', () => {
    everywhere(
      (step) => step.do === 'publish' && step.ready !== null,
      ({ sync, engine: on, memory: m, local: here, step }) => {
        expect([sync.state, on.slave.of, on.slave.io, here.disk.wasMaster]).toEqual(['open', sync.leader.id, 'running', false]);
        expect(m.compared?.result).toBe('contained');
        expect(step).toMatchObject({ ready: EPOCH });
      },
    );
  });

  it('R2, R3: throws data away only where nothing counts on them, and copies into nothing', () => {
    everywhere(
      (step) => step.do === 'wipe' || step.do === 'clone',
      ({ sync, engine: on, memory: m, local: here, step }) => {
        expect([sync.state, sync.leader.id === ME]).toEqual(['open', false]);
        if (step.do === 'wipe') expect([m.withdrawn, on.readOnly, on.waiters]).toEqual([INDEX, true, 0]);
        else expect([here.disk.gen, here.engine.state]).toEqual([undefined, 'down']);
      },
    );
  });

  it('W1: sends users away only where it is read-only and nobody waits', () => {
    everywhere(does('kill_users'), ({ leads, engine: on, sync }) => {
      expect([leads, sync.state, on.readOnly, on.waiters]).toEqual([true, 'open', true, 0]);
    });
  });

  it('H3: applies a relay log only where commits wait for nobody, P4: and forgets a master only when it is applied', () => {
    everywhere(does('drain'), ({ engine: on, leads, sync }) => {
      // A promoter whose semi-sync is on was started by an older decision: P4 comes after P3.
      if (!(leads && sync.state === 'promoting')) expect(on.semiSyncMaster).toBe(false);
    });
    everywhere(does('forget_master'), ({ engine: on }) => {
      expect([on.slave.drained, on.relayUnapplied]).toEqual([true, false]);
    });
  });

  it('A1: gives an engine no command before what a former life left in it has ended', () => {
    const commands: Step['do'][] = [
      'semi_sync_master',
      'allow_dumps',
      'follow',
      'stop_receiving',
      'forget_master',
      'drain',
      'sample',
      'kill_users',
      'read_only',
    ];
    everywhere(
      (step) => commands.includes(step.do),
      ({ memory: m, step, leads }) => {
        // F2 lets commits go that wait: a stray command of the same account could only do what it does too.
        if (!(step.rule === 'F2' && leads)) expect(m.adopted).toBe(true);
      },
    );
  });
});
