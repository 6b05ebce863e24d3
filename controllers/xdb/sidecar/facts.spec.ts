import { describe, expect, it } from 'vitest';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import { forgetful } from '#xdb/protocol/memory.ts';
import { type FactsInput, runningEngine } from './facts.ts';

/** Positions of one history, as `0-1-<n>`. */
const engine = {
  compare: (a: string, b: string) => {
    const [one, other] = [Number(a.split('-')[2] ?? 0), Number(b.split('-')[2] ?? 0)];
    return one === other ? 0 : one < other ? -1 : 1;
  },
} as const;

const slave: NonNullable<EngineFacts['slave']> = {
  ...{ masterHost: '10.0.0.1', masterPort: 3305, master: 'adb-1', io: 'running', sql: 'running' },
  ...{ ioGtid: '0-1-50', ioError: '', sqlError: '', lagSeconds: 2 },
};
const facts: EngineFacts = {
  ...{
    instance: 'i',
    version: '11.8',
    uptimeSeconds: 5,
    readOnly: true,
    semiSyncMaster: false,
    semiSyncActive: false,
    semiSyncSlave: true,
  },
  ...{ waiters: 0, acknowledged: 0, unacknowledged: 0, binlogGtid: '0-1-50', appliedGtid: '0-1-50', dumps: [], openAccounts: [] },
  ...{ relayUnapplied: false, connections: 1 },
};
const back = { candidate: { id: 'adb-2', gen: 'g2' }, candidateIndex: 7, casIndex: 9, g: '0-1-40' };
const position = { gen: 'g2', boot: 'b2', received: '0-1-40', from: 'adb-1' };

const seen = (more: Partial<EngineFacts>, input: Partial<FactsInput> = {}) =>
  runningEngine(
    {
      ...{ me: 'adb-1', facts: { ...facts, ...more }, waitAgeMs: 0, unacknowledgedBefore: 0, memory: forgetful('i') },
      ...{ positions: new Map(), boots: { 'adb-2': { boot: 'b2', index: 7 } }, moveReached: false, busy: undefined },
      peerOf: () => ({ address: '10.0.0.1', serverId: 77 }),
      ...input,
    },
    engine,
  );

describe('runningEngine', () => {
  it('a slave that has applied everything is not behind, however old the last heartbeat', () => {
    expect(seen({ slave: { ...slave, lagSeconds: 600 } }).slave).toMatchObject({ drained: true, lagSeconds: 0 });
    expect(seen({ slave: { ...slave, lagSeconds: 600 }, appliedGtid: '0-1-49' }).slave).toMatchObject({ drained: false, lagSeconds: 600 });
    expect(seen({ slave, relayUnapplied: true }).slave.drained).toBe(false);
  });

  it('whom it follows is who is there now, not whose name was written down', () => {
    const of = (more: Partial<typeof slave>) => seen({ slave: { ...slave, ...more } }).slave.of;
    expect(of({})).toBe('adb-1');
    expect(of({ masterServerId: 77 })).toBe('adb-1');
    expect(of({ masterServerId: 0 })).toBe('adb-1');
    expect(of({ masterServerId: 78 })).toBeUndefined();
    expect(of({ masterHost: '10.0.0.9' })).toBeUndefined();
    expect(seen({ slave: { ...slave, master: undefined } }).slave).toMatchObject({ of: undefined, outside: true });
  });

  it('K2: a slave lacks what it acknowledged and neither received nor applied; where that is not known, nothing is said', () => {
    const lacks = (acked: string | undefined, more: Partial<typeof slave> = {}, applied = '0-1-50') =>
      seen({ slave: { ...slave, ...more }, appliedGtid: applied }, { acked }).lacks;
    expect(lacks('0-1-51')).toEqual({ acked: '0-1-51', received: '0-1-50' });
    expect(lacks('0-1-51', { ioGtid: '' })).toEqual({ acked: '0-1-51', received: '0-1-50' });
    expect(lacks('0-1-50')).toBeUndefined();
    expect(lacks('0-1-50', { ioGtid: '0-1-60' }, '0-1-40')).toBeUndefined();
    expect(lacks('0-1-55', { ioGtid: '0-1-50' }, '0-1-60')).toBeUndefined();
    expect(lacks(undefined)).toBeUndefined();
    expect(seen({}, { acked: '0-1-99' }).lacks).toBeUndefined();
  });

  it('a thread that stopped by itself is broken; one that goes on trying, or was told to stop, is not', () => {
    const broken = (more: Partial<typeof slave>) => seen({ slave: { ...slave, ...more } }).slave.broken;
    expect(broken({ sql: 'stopped', sqlError: '1062 duplicate' })).toBe('1062 duplicate');
    expect(broken({ io: 'stopped', ioError: '1236 errant' })).toBe('1236 errant');
    expect(broken({ io: 'connecting', ioError: '1045 denied' })).toBeUndefined();
    expect(broken({ io: 'stopped' })).toBeUndefined();
  });

  it('semi-sync has lapsed when it is on and not kept to, or let something go since it is on', () => {
    const lapsed = (more: Partial<EngineFacts>, unacknowledgedBefore = 0) => seen(more, { unacknowledgedBefore }).semiSyncLapsed;
    expect(lapsed({ semiSyncMaster: true, semiSyncActive: true })).toBe(false);
    expect(lapsed({ semiSyncMaster: true, semiSyncActive: false })).toBe(true);
    expect(lapsed({ semiSyncMaster: true, semiSyncActive: true, unacknowledged: 3 }, 3)).toBe(false);
    expect(lapsed({ semiSyncMaster: true, semiSyncActive: true, unacknowledged: 4 }, 3)).toBe(true);
    expect(lapsed({ semiSyncMaster: false, unacknowledged: 4 })).toBe(false);
  });

  describe('B: a candidate has reached the position', () => {
    const connected = { dumps: [{ member: 'adb-2', semiSync: true }] };
    const reached = (input: Partial<FactsInput> & { memory?: FactsInput['memory'] }, more: Partial<EngineFacts> = connected) =>
      seen(more, { memory: { ...forgetful('i'), back }, positions: new Map([['adb-2', position]]), ...input }).candidateReached;

    it('when it says so with the boot that the record named before', () => {
      expect(reached({})).toBe(true);
    });

    it.each([
      ['it lacks the last transaction', { positions: new Map([['adb-2', { ...position, received: '0-1-39' }]]) }],
      ['its engine was started anew', { positions: new Map([['adb-2', { ...position, boot: 'b3' }]]) }],
      ['it has other data', { positions: new Map([['adb-2', { ...position, gen: 'g3' }]]) }],
      ['it receives from somebody else', { positions: new Map([['adb-2', { ...position, from: 'adb-3' }]]) }],
      ['it receives from nobody', { positions: new Map([['adb-2', { ...position, from: null }]]) }],
      ['its record was written since', { boots: { 'adb-2': { boot: 'b2', index: 8 } } }],
      ['nothing was sampled yet', { memory: { ...forgetful('i'), back: { ...back, g: undefined } } }],
      ['it has not answered', { positions: new Map() }],
    ] as const)('not when %s', (_why, input) => {
      expect(reached(input as Partial<FactsInput>)).toBe(false);
    });

    it('not when it does not acknowledge', () => {
      expect(reached({}, { dumps: [{ member: 'adb-2', semiSync: false }] })).toBe(false);
      expect(reached({}, { dumps: [] })).toBe(false);
    });
  });

  it('near is who follows and has nearly everything', () => {
    const near = (received: string) =>
      seen(
        { dumps: [{ member: 'adb-2', semiSync: false }], binlogGtid: '0-1-9000' },
        { positions: new Map([['adb-2', { ...position, received }]]) },
      ).near;
    expect(near('0-1-9000')).toEqual(['adb-2']);
    expect(near('0-1-8000')).toEqual(['adb-2']);
    expect(near('0-1-5000')).toEqual([]);
    expect(near('')).toEqual([]);
  });
});
