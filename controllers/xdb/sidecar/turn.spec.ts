import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { BUDGETS, GUARDS, type Local } from '#xdb/protocol/types.ts';
import { DbSpec } from '#xdb/schema.ts';
import type { SeenRecord } from './disk.ts';
import type { Seen } from './observe.ts';
import { createTurner, type Turn, type TurnOptions } from './turn.ts';

const spec = DbSpec.parse({
  ...{ v: 1, name: 'adb', role: 'pair', flavor: 'mariadb', cpus: 0, memoryBytes: 2 ** 29, diskBytes: 2 ** 30, network: 'n' },
  ...{ database: 'adb', user: 'adb', members: [{ id: 'adb-1', role: 'member' }] },
});
const sync = { v: 1, leader: { id: 'adb-1', gen: 'g' }, sync: null, cand: null, prev: null, state: 'open', epoch: 3, rev: 8, nonce: 'n' };

/** A turn in a member whose engine is down; what is noted on its disk, in what order. */
function member() {
  const notes: string[] = [];
  let full = false;
  const turns: Turn[] = [];
  const entry = (key: string, value: unknown) => ({
    ...{ Key: `xcaas/db/adb/${key}`, ModifyIndex: 7, LockIndex: 0, CreateIndex: 1, Flags: 0 },
    Value: Buffer.from(JSON.stringify(value)).toString('base64'),
  });
  const body = [entry('spec', spec), entry('sync', sync)];
  const local = (seen: Seen) => ({
    ...{ me: 'adb-1', engine: { state: 'down', ageMs: 60_000 }, memory: seen.memory, leader: { dead: false, heard: false } },
    ...{ disk: { gen: 'g', wasMaster: true, rev: 0, epoch: 0 }, consulAgeMs: seen.consulAgeMs, session: true, stopping: undefined },
    ...{ reinit: false, diskFull: false, promotingAgeMs: 0, moveAgeMs: 0, fallBackAgeMs: 0 },
  });
  const options = {
    tools: {
      config: { db: 'adb', member: 'adb-1' },
      supervisor: { pet: () => undefined, engine: () => ({ state: 'none' }) },
      link: { look: async () => ({ state: 'down', ageMs: 60_000 }), drop: () => notes.push('connection dropped') },
      disk: {
        now: () => ({ gen: 'g', wasMaster: true, rev: 0, epoch: 0 }),
        async raise({ rev, epoch }: SeenRecord) {
          if (full) throw new AppError('internal', 'no space left on the device');
          notes.push(`raise ${rev} ${epoch}`);
        },
        async noteStart() {
          notes.push('start');
          throw new AppError('engine', 'far enough for this test');
        },
      },
      session: { id: () => 's' },
      engine: { hasData: async () => true },
      failpoints: { at: async () => undefined },
      consul: { request: async () => ({ status: 200, headers: {}, body, text: JSON.stringify(body) }) },
    },
    observer: { localOf: async (seen: Seen) => local(seen) as unknown as Local, fellBack: () => undefined },
    ...{ positions: { fresh: () => new Map() }, watch: { dead: () => false, silent: () => false }, diskGuard: { use: () => undefined } },
    ...{ addresses: { learn: () => undefined }, metrics: { looked: () => undefined, stepped: () => undefined } },
    ...{ budgets: { ...BUDGETS, consulMs: 60_000 }, guards: GUARDS, log: silentLogger(), onDecided: (turn: Turn) => turns.push(turn) },
  };
  const turner = createTurner(options as unknown as TurnOptions);
  return { notes, turns, turn: turner.turn, consulReachable: turner.consulReachable, fill: () => (full = true) };
}

describe('K1: a turn', () => {
  it('notes revision and epoch of the record before it does anything by it', async () => {
    const { turn, notes } = member();
    const { step } = await turn();
    expect(step).toMatchObject({ rule: 'S1', do: 'start' });
    expect(notes).toEqual(['raise 8 3', 'start']);
  });

  it('takes records that it cannot note for not read: nothing is started by them, and what protects goes on by its age', async () => {
    const { turn, notes, turns, fill, consulReachable } = member();
    fill();
    expect((await turn()).step).toMatchObject({ rule: 'S0', do: 'wait' });
    expect(notes).toEqual([]);
    expect(turns[0]?.view).toBeUndefined();
    expect(turns[0]?.local.consulAgeMs).toBeGreaterThan(0);
    expect(consulReachable()).toBe(false);
  });
});
