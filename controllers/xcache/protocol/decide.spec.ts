import { describe, expect, it } from 'vitest';
import type { LeadRecord } from '#xcache/schema.ts';
import { decide } from './decide.ts';
import { BUDGETS, type Local, type Records, type RunningEngine } from './types.ts';

const LEAD: LeadRecord = {
  ...{ v: 1, master: { id: 'a', run: 'ra' }, insync: [{ id: 'b', run: 'rb' }], prev: null, target: null },
  ...{ state: 'open', clear: false, epoch: 3, rev: 7, nonce: 'n' },
};
const MASTER: RunningEngine = {
  ...{
    state: 'running',
    run: 'ra',
    role: 'master',
    following: undefined,
    linkUp: false,
    offset: 100,
    empty: false,
    fenced: false,
    minReplicas: 1,
  },
  ...{ replicas: [{ id: 'b', ackMs: 1000, offset: 100 }], failingOver: false },
};
const REPLICA: RunningEngine = {
  ...MASTER,
  run: 'rb',
  role: 'replica',
  following: 'a',
  linkUp: true,
  fenced: true,
  minReplicas: 1_000_000,
  replicas: [],
};
const SEEN_B = { run: 'rb', role: 'replica' as const, offset: 100, linkUp: true, fenced: true, minReplicas: 1_000_000, empty: false };

function records(lead: Partial<LeadRecord> = {}, more: Partial<Records> = {}): Records {
  return {
    ...{ lead: { value: { ...LEAD, ...lead }, index: 50 }, birth: undefined, move: undefined, members: ['a', 'b', 'c'], minReplicas: 1 },
    ...{ present: ['a', 'b', 'c'], unheard: [], leaving: [], beatAgeMs: {}, paused: false },
    ...more,
  };
}
function local(me: string, engine: Local['engine'], more: Partial<Local> = {}): Local {
  return {
    ...{
      me,
      engine,
      epoch: 3,
      consulAgeMs: 10,
      peers: { b: { silentMs: 0, seen: SEEN_B } },
      hostDead: false,
      stateAgeMs: 5000,
      goneAgeMs: 0,
    },
    ...{ handoverTriedRev: 0, endpointRev: LEAD.rev, doubt: undefined, stopping: undefined },
    ...more,
  };
}
const step = (of: Records | undefined, at: Local) => decide(of, at, BUDGETS);

describe('a master', () => {
  it('hands over once every member has said that its endpoint leads to nobody, and not much later in any case', () => {
    const handing = (unheard: string[], stateAgeMs: number, endpointRev = LEAD.rev) =>
      step(records({ state: 'handing', target: { id: 'b', run: 'rb' } }, { unheard }), local('a', MASTER, { stateAgeMs, endpointRev }));
    expect(handing(['a', 'c'], 100)).toMatchObject({ do: 'wait', rule: 'W1', reason: expect.stringContaining(': c may') });
    expect(handing(['a'], 100)).toMatchObject({ do: 'handover', target: 'b' });
    // Its own is no different from theirs.
    expect(handing([], 100, LEAD.rev - 1)).toMatchObject({ do: 'wait', rule: 'W1', reason: expect.stringContaining(': a may') });
    expect(handing(['c'], BUDGETS.heardMs)).toMatchObject({ do: 'handover', target: 'b' });
  });

  it('counts no more on a replica that is to end, and neither takes it back nor hands over to it', () => {
    const leaving = { leaving: ['b'] };
    const known = { peers: { b: { silentMs: 0, seen: SEEN_B } } };
    expect(step(records({}, leaving), local('a', MASTER, known))).toMatchObject({
      do: 'write',
      rule: 'F1',
      next: { insync: [] },
      reason: expect.stringContaining('b is to end'),
    });
    const alone = step(records({ insync: [] }, leaving), local('a', { ...MASTER, minReplicas: 0 }, known));
    expect(alone).toMatchObject({ do: 'wait', rule: 'idle' });
    expect(step(records({}, leaving), local('a', MASTER, { stopping: { ageMs: 100 } }))).toMatchObject({ do: 'leave' });
  });

  it('goes on without Consul while all who may take over acknowledge, and not a moment longer', () => {
    expect(step(records(), local('a', MASTER, { consulAgeMs: 60_000 }))).toMatchObject({ do: 'wait', rule: 'L2' });
    const silent = { ...MASTER, replicas: [{ id: 'b', ackMs: 3000, offset: 100 }] };
    expect(step(records(), local('a', silent, { consulAgeMs: 1300 }))).toMatchObject({ do: 'fence', rule: 'L1' });
    expect(step(records(), local('a', silent, { consulAgeMs: 1000 }))).not.toMatchObject({ do: 'fence' });
  });

  it('counts on whom it may have put on the record itself, as long as that is not known', () => {
    const alone = local('a', { ...MASTER, minReplicas: 1, replicas: [] }, { consulAgeMs: 1300, doubt: { at: 50, members: ['b'] } });
    expect(step(records({ insync: [] }), alone)).toMatchObject({ do: 'fence', rule: 'L1' });
    // Another record was read since: what was written is known.
    expect(step(records({ insync: [] }), { ...alone, doubt: { at: 49, members: ['b'] } })).toMatchObject({ do: 'wait' });
    expect(step(records({ insync: [] }), { ...alone, consulAgeMs: 10 })).toMatchObject({ do: 'wait' });
  });

  it('asks for acknowledgements before it puts a replica on the record', () => {
    const open = { ...MASTER, minReplicas: 0 };
    expect(step(records({ insync: [] }), local('a', open))).toMatchObject({ do: 'open', minReplicas: 1 });
    expect(step(records({ insync: [] }), local('a', MASTER))).toMatchObject({
      do: 'write',
      rule: 'B1',
      next: { insync: [{ id: 'b', run: 'rb' }] },
    });
  });

  it('takes a silent replica off the record before it goes on without', () => {
    const alone = { ...MASTER, replicas: [] };
    expect(step(records(), local('a', alone))).toMatchObject({ do: 'write', rule: 'F1', next: { insync: [] } });
    expect(step(records({ insync: [] }), local('a', alone, { peers: {} }))).toMatchObject({ do: 'open', minReplicas: 0 });
  });

  it.each([
    ['that does not say itself that its link is up', { ...SEEN_B, linkUp: false }, 0],
    ['that did not answer just now', SEEN_B, 700],
    ['that is a master itself', { ...SEEN_B, role: 'master' as const }, 0],
  ])('does not count on a replica %s', (_what, seen, silentMs) => {
    const peers = { b: { silentMs, seen } };
    expect(step(records({ insync: [] }), local('a', MASTER, { peers }))).toMatchObject({ do: 'open', minReplicas: 0 });
  });

  it('whose engine is gone says so, and is not started as a master', () => {
    expect(step(records(), local('a', { state: 'down' }))).toMatchObject({
      do: 'write',
      rule: 'V1',
      next: { state: 'vacant', clear: true, insync: [{ id: 'b' }] },
    });
    expect(step(records({ state: 'vacant' }), local('a', { state: 'down' }))).toMatchObject({ do: 'start' });
    const anew = { ...MASTER, run: 'ra2', fenced: true, empty: true };
    expect(step(records({ state: 'vacant' }), local('a', anew))).toMatchObject({ do: 'wait', rule: 'T2' });
  });

  it('that stands down while it waits for the one before to be fenced does not say that all is clear', () => {
    const promoting = {
      state: 'promoting' as const,
      master: { id: 'b', run: 'rb' },
      prev: { id: 'a', run: 'ra' },
      insync: [{ id: 'c', run: 'rc' }],
    };
    const gone = step(records(promoting), local('b', { state: 'down' }));
    expect(gone).toMatchObject({ rule: 'V1', next: { state: 'vacant', clear: false } });
  });

  it('with the only copy is not killed because it is busy', () => {
    const busy = { state: 'unreachable' as const, ageMs: 10_000 };
    expect(step(records({ insync: [] }), local('a', busy))).toMatchObject({ do: 'wait' });
    expect(step(records(), local('a', busy))).toMatchObject({ do: 'kill', rule: 'D1' });
  });

  it('that came back empty and alone lets a stale replica win over nothing', () => {
    const anew = { ...MASTER, run: 'ra2', fenced: true, empty: true, replicas: [] };
    expect(step(records({ insync: [] }), local('a', anew))).toMatchObject({
      do: 'write',
      rule: 'V3',
      next: { state: 'vacant', insync: [{ id: 'b', run: 'rb' }] },
    });
    // Nor does it begin empty while somebody who may have something was not heard.
    const unheard = { peers: { b: { silentMs: 3000 } } };
    expect(step(records({ insync: [] }), local('a', anew, unheard))).toMatchObject({
      do: 'write',
      rule: 'V3',
      next: { state: 'vacant', insync: [] },
    });
    expect(step(records({ insync: [], state: 'vacant' }), local('a', anew, unheard))).toMatchObject({ do: 'wait', rule: 'T2' });
    expect(step(records({ insync: [], state: 'vacant' }), local('a', anew, { ...unheard, stateAgeMs: 9000 }))).toMatchObject({
      do: 'write',
      rule: 'T2',
    });
    expect(step(records({ insync: [], state: 'vacant' }), local('a', anew))).toMatchObject({
      do: 'write',
      rule: 'V3',
      next: { insync: [{ id: 'b' }] },
    });
    expect(step(records({ insync: [] }), local('a', { ...anew, empty: false }))).toMatchObject({
      do: 'write',
      rule: 'T2',
      next: { epoch: 4 },
    });
  });
});

describe('a replica', () => {
  it('that is to end waits until its master counts on it no more, as long as that takes writes', () => {
    const a = { run: 'ra', role: 'master' as const, offset: 1, linkUp: false, fenced: false, minReplicas: 1, empty: false };
    const ends = (insync: LeadRecord['insync'], seen: object = {}, more: Partial<Local> = {}) =>
      step(
        records({ insync }),
        local('b', REPLICA, { peers: { a: { silentMs: 0, seen: { ...a, ...seen } } }, stopping: { ageMs: 100 }, ...more }),
      );
    const counted = [{ id: 'b', run: 'rb' }];
    expect(ends(counted)).toMatchObject({ do: 'wait', rule: 'E4' });
    // The record says so before the engine does.
    expect(ends([])).toMatchObject({ do: 'wait', rule: 'E4' });
    expect(ends([], { minReplicas: 0 })).toMatchObject({ do: 'leave' });
    expect(ends(counted, { fenced: true })).toMatchObject({ do: 'leave' });
    expect(ends(counted, {}, { consulAgeMs: 2000 })).toMatchObject({ do: 'leave' });
    expect(ends(counted, {}, { stopping: { ageMs: BUDGETS.withdrawMs } })).toMatchObject({ do: 'leave' });
  });

  const gone = { peers: { a: { silentMs: 2000 } }, goneAgeMs: 10 };
  const dead = { ...REPLICA, linkUp: false };

  it('takes over when two vantage points miss the master, and never on one alone', () => {
    expect(step(records({}, { beatAgeMs: { a: 2500 } }), local('b', dead, gone))).toMatchObject({
      do: 'write',
      rule: 'P1',
      next: { epoch: 4, state: 'promoting', clear: false },
    });
    expect(step(records({}, { beatAgeMs: { a: 500 } }), local('b', dead, gone))).toMatchObject({ do: 'wait' });
    expect(step(records({}, { beatAgeMs: { a: 2500 } }), local('b', REPLICA, gone))).toMatchObject({ do: 'wait' });
    expect(step(records({}, { beatAgeMs: { a: 2500 } }), local('b', dead, { peers: { a: { silentMs: 200 } } }))).toMatchObject({
      do: 'wait',
    });
  });

  it('that is not on the record, or was started anew since, never takes over', () => {
    const of = records({ insync: [{ id: 'c', run: 'rc' }] }, { beatAgeMs: { a: 2500 } });
    expect(step(of, local('b', dead, gone))).toMatchObject({ do: 'wait' });
    expect(step(records({}, { beatAgeMs: { a: 2500 } }), local('b', { ...dead, run: 'rb2', empty: true }, gone))).toMatchObject({
      do: 'wait',
    });
  });

  it('lets the one with more go first, and waits until nobody can get any more', () => {
    const both = {
      state: 'vacant' as const,
      clear: true,
      insync: [
        { id: 'b', run: 'rb' },
        { id: 'c', run: 'rc' },
      ],
    };
    const seen = (offset: number, linkUp: boolean) => ({
      peers: { c: { silentMs: 0, seen: { ...SEEN_B, run: 'rc', offset, linkUp } } },
      stateAgeMs: 100,
    });
    expect(step(records(both), local('b', dead, seen(200, false)))).toMatchObject({ do: 'wait' });
    expect(step(records(both), local('b', dead, seen(50, true)))).toMatchObject({ do: 'wait' });
    expect(step(records(both), local('b', dead, seen(50, false)))).toMatchObject({ do: 'write', next: { clear: true } });
    expect(step(records(both), local('b', dead, { ...seen(200, false), stateAgeMs: 3500 }))).toMatchObject({ do: 'write' });
  });

  it('that was promoted opens when the one before takes no more writes, or has had the time to stop', () => {
    const of = records({ state: 'promoting', master: { id: 'b', run: 'rb' }, prev: { id: 'a', run: 'ra' }, insync: [], epoch: 4 });
    const promoted: RunningEngine = { ...dead, role: 'master', following: undefined };
    const a = { run: 'ra', role: 'master' as const, offset: 1, linkUp: false, fenced: false, minReplicas: 1, empty: false };
    expect(step(of, local('b', promoted, { peers: { a: { silentMs: 2000, seen: a } }, stateAgeMs: 1000 }))).toMatchObject({
      do: 'wait',
      rule: 'P3',
    });
    expect(step(of, local('b', promoted, { peers: { a: { silentMs: 0, seen: { ...a, fenced: true } } }, stateAgeMs: 100 }))).toMatchObject({
      do: 'write',
      next: { state: 'open' },
    });
    expect(step(of, local('b', promoted, { peers: { a: { silentMs: 2000, seen: a } }, stateAgeMs: 1950 }))).toMatchObject({
      do: 'write',
      next: { state: 'open' },
    });
  });

  it('that takes writes though another leads is fenced, and its clients are sent away', () => {
    expect(step(records(), local('b', { ...MASTER, run: 'rb' }))).toMatchObject({ do: 'fence', cut: true, rule: 'D2' });
  });
});

describe('records', () => {
  it('that are older than what this member has seen are not acted upon', () => {
    expect(step(records(), local('b', REPLICA, { epoch: 4 }))).toMatchObject({ do: 'wait', alarm: true });
    expect(step(records(), local('a', MASTER, { epoch: 4 }))).toMatchObject({ do: 'fence' });
  });

  it('are begun once, by the member that was told to', () => {
    const of = { ...records(), lead: undefined, birth: { value: { v: 1 as const, member: 'a', done: false }, index: 9 } };
    expect(step(of, local('a', { ...MASTER, fenced: true }, { epoch: 0 }))).toMatchObject({ do: 'write', rule: 'N2', birth: 9, at: 0 });
    expect(step(of, local('b', REPLICA, { epoch: 0 }))).toMatchObject({ do: 'wait' });
    const done = { ...of, birth: { value: { v: 1 as const, member: 'a', done: true }, index: 9 } };
    expect(step(done, local('a', { ...MASTER, fenced: true }, { epoch: 0 }))).toMatchObject({ do: 'wait', alarm: true });
  });
});
