import { describe, expect, it } from 'vitest';
import { type Fault, generator, type SimOptions, type SimResult, simulate } from './simulate.ts';
import { GUARDS, type Guards } from './types.ts';

const KINDS: Fault['kind'][] = ['kill', 'freeze', 'hang', 'sidecar', 'consul', 'isolate', 'link', 'consulDown', 'stop'];

/** More are asked for by hand: 10,000 take a minute. */
const HISTORIES = Number(process.env.XCAAS_HISTORIES ?? 60);

/** Faults one after another, each over for a while before the next. */
function history(seed: number, members: number, kinds = KINDS): Fault[] {
  const random = generator(seed * 7919 + 1);
  const faults: Fault[] = [];
  for (let at = 8000 + random() * 1000; at < 45_000; at += 12_000 + random() * 6000) {
    const kind = kinds[Math.floor(random() * kinds.length)]!;
    faults.push({ kind, at, until: at + 500 + random() * 7000, member: Math.floor(random() * members) });
  }
  return faults;
}

function run(seed: number, more: Partial<SimOptions> = {}): SimResult {
  const members = more.members ?? 2 + (seed % 2);
  return simulate({ seed, members, minReplicas: 1, faults: history(seed, members), untilMs: 66_000, ...more });
}

const tail = (result: SimResult) => result.trace.slice(-40).join('\n');

describe('members that decide for themselves', () => {
  it('come to be, and follow', () => {
    for (const members of [1, 2, 3]) {
      const result = run(1, { members, faults: [], untilMs: 10_000 });
      expect(result.unsettled, tail(result)).toEqual([]);
      expect(result.epochs).toBe(1);
      expect(result.lost).toEqual([]);
    }
  });

  it('never take writes beside a newer master, and settle by themselves, whatever single thing fails at a time', () => {
    for (let seed = 1; seed <= 24; seed += 1) {
      const result = run(seed);
      expect(result.overlaps, `seed ${seed}\n${result.trace.join('\n')}`).toEqual([]);
      expect(result.unsettled, `seed ${seed}\n${tail(result)}`).toEqual([]);
    }
  });

  it('nor when what they do comes up to two seconds late, and what they go by is a turn old', () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const result = run(seed, { busy: true });
      expect(result.overlaps, `seed ${seed}\n${result.trace.join('\n')}`).toEqual([]);
      expect(result.unsettled, `seed ${seed}\n${tail(result)}`).toEqual([]);
    }
  });

  it('nor when members are asked to end and the master is changed by order beside all that', { timeout: 60_000 + 20 * HISTORIES }, () => {
    for (const busy of [false, true]) {
      const wrong: string[] = [];
      for (let seed = 1; seed <= HISTORIES; seed += 1) {
        const random = generator(seed * 104_729);
        const faults = history(seed, 2 + (seed % 2));
        const moves = faults.flatMap(({ at }) => (random() < 0.5 ? [Math.round((at - 300 + random() * 800) / 50) * 50] : []));
        const { overlaps, unsettled } = run(seed, { moves, busy });
        if (overlaps.length + unsettled.length > 0) wrong.push(`seed ${seed}: ${[...overlaps.slice(0, 1), ...unsettled].join('; ')}`);
      }
      expect(wrong, busy ? 'late and by old looks' : 'in time').toEqual([]);
    }
  });

  it('lose only what was taken within the bound before the next master', () => {
    for (let seed = 200; seed < 212; seed += 1) {
      const result = run(seed);
      for (const write of result.lost) {
        const next = result.taken.find(({ epoch }) => epoch > write.epoch);
        expect(
          (next?.at ?? Number.POSITIVE_INFINITY) - write.at,
          `seed ${seed} ${JSON.stringify(write)}\n${result.trace.join('\n')}`,
        ).toBeLessThan(6000);
      }
    }
  });

  it('take writes again within five seconds of a killed or frozen engine, a frozen or a lost member', () => {
    for (const kind of ['kill', 'hang', 'freeze', 'isolate'] as const)
      for (let seed = 1; seed <= 4; seed += 1) {
        const result = run(seed, { faults: [{ kind, at: 9000 + 37 * seed, until: 25_000, member: 0 }], untilMs: 40_000 });
        expect(result.epochs, `${kind} ${seed}\n${tail(result)}`).toBe(2);
        expect(result.longestGapMs, `${kind} ${seed}\n${tail(result)}`).toBeLessThan(5000);
      }
  });

  it('lose nothing when the master is changed by order, nor take writes at two', () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const result = run(seed, { faults: [], moves: [8000, 14_000, 20_000], untilMs: 30_000, busy: seed > 5 });
      expect(result.epochs, tail(result)).toBe(4);
      expect([result.lost, result.overlaps, result.unsettled], tail(result)).toEqual([[], [], []]);
    }
  });

  it('that are asked to end go one after another, and no write waits for a replica that goes', () => {
    for (let seed = 1; seed <= 10; seed += 1)
      for (const member of [0, 1]) {
        const result = run(seed, { members: 2, faults: [{ kind: 'stop', at: 9000 + 37 * seed, until: 14_000, member }], untilMs: 30_000 });
        expect([result.lost, result.overlaps, result.unsettled], tail(result)).toEqual([[], [], []]);
        const times = result.taken.flatMap(({ at }) => (at > 8000 ? [at] : []));
        const longest = Math.max(...times.map((at, index) => at - (times[index - 1] ?? at)));
        if (member === 1) expect([result.epochs, longest], tail(result)).toEqual([1, 50]);
      }
  });

  it('settle when one of the two ends, or falls silent, in the middle of a change by order', () => {
    for (const kind of ['kill', 'freeze', 'isolate'] as const)
      for (let seed = 1; seed <= 20; seed += 1) {
        const at = 8000 + 50 * (seed % 20) * 2;
        const until = kind === 'kill' ? at + 1 : at + 9000;
        const result = run(seed, { faults: [{ kind, at, until, member: 1 }], moves: [8000], untilMs: 40_000, members: 2 });
        expect(result.overlaps, `${kind} ${seed}\n${tail(result)}`).toEqual([]);
        expect(result.unsettled, `${kind} ${seed}\n${tail(result)}`).toEqual([]);
        if (kind === 'kill') expect(result.lost.length, `${kind} ${seed}\n${tail(result)}`).toBeLessThan(5);
      }
  });

  it('take writes at one only when the master is cut off in the middle of a change by order, also without the belt of the engine', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const at = 8000 + 50 * (seed % 20);
      const faults: Fault[] = [{ kind: 'isolate', at, until: at + 9000, member: 0 }];
      const result = run(seed, { faults, moves: [8000], minReplicas: seed % 2, untilMs: 40_000 });
      expect(result.overlaps, `${seed}\n${tail(result)}`).toEqual([]);
      expect(result.unsettled, `${seed}\n${tail(result)}`).toEqual([]);
    }
  });

  it('a Consul that is away stops nothing while replicas acknowledge', () => {
    const result = run(3, { faults: [{ kind: 'consulDown', at: 9000, until: 30_000, member: 0 }], untilMs: 45_000 });
    expect(result.epochs, tail(result)).toBe(1);
    expect(result.longestGapMs, tail(result)).toBeLessThan(3500);
  });

  it('all restarted at once: with nothing on disk they begin empty, with something they keep it', () => {
    for (const persistent of [true, false])
      for (let seed = 1; seed <= 3; seed += 1) {
        const result = run(seed, { persistent, faults: [{ kind: 'restartAll', at: 9000, until: 9001, member: 0 }], untilMs: 45_000 });
        expect(result.unsettled, tail(result)).toEqual([]);
        expect(result.longestGapMs, tail(result)).toBeLessThan(20_000);
        if (persistent) expect(result.lost.length).toBeLessThan(5);
      }
  });

  it('a master that comes back empty at once never wins over its replica', () => {
    for (let seed = 1; seed <= 6; seed += 1) {
      const result = run(seed, { members: 2, faults: [{ kind: 'kill', at: 9000 + seed * 31, until: 9001, member: 0 }], untilMs: 25_000 });
      expect(result.epochs).toBe(2);
      expect(result.lost.length, tail(result)).toBeLessThan(10);
    }
  });
});

describe('each guard is needed: without it the same histories go wrong', () => {
  const wrong = (guard: keyof Guards, more: Partial<SimOptions> = {}) => {
    for (let seed = 1; seed <= 150; seed += 1) {
      const result = run(seed, { ...more, guards: { ...GUARDS, [guard]: false } });
      const lostLong = result.lost.some(
        (write) => (result.taken.find(({ epoch }) => epoch > write.epoch)?.at ?? Number.POSITIVE_INFINITY) - write.at > 8000,
      );
      if (result.overlaps.length > 0 || result.unsettled.length > 0 || lostLong) return true;
    }
    return false;
  };
  // With the engine's own belt off, what is left is the sidecar's lease.
  it('lease', () => expect(wrong('lease', { minReplicas: 0 })).toBe(true));
  it('waitForFence', () => expect(wrong('waitForFence')).toBe(true));
  it('runs', () => expect(wrong('runs')).toBe(true));
  it('insyncOnly', () => {
    // The replica is cut off for long, and comes back while the master, which kept everything on disk, is frozen.
    const faults: Fault[] = [
      { kind: 'link', at: 9000, until: 20_500, member: 1 },
      { kind: 'freeze', at: 20_000, until: 27_000, member: 0 },
    ];
    const stale = (insyncOnly: boolean) =>
      run(2, { members: 2, faults, persistent: true, untilMs: 60_000, guards: { ...GUARDS, insyncOnly } });
    expect(stale(true).lost).toEqual([]);
    expect(stale(true).unsettled).toEqual([]);
    expect(stale(false).lost.length).toBeGreaterThan(50);
  });
});

it('the lease alone bounds it as well, without the belt of the engine', () => {
  for (let seed = 300; seed < 312; seed += 1) {
    const random = generator(seed);
    // A frozen sidecar beside a partition is what the belt is for.
    const kinds = KINDS.filter((kind) => kind !== 'sidecar');
    const result = run(seed, { minReplicas: 0, faults: history(Math.floor(random() * 1e6), 2 + (seed % 2), kinds) });
    expect(result.overlaps, `seed ${seed}\n${result.trace.join('\n')}`).toEqual([]);
  }
});
