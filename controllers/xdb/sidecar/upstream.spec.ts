import { describe, expect, it } from 'vitest';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import { lacking } from '#xdb/engine/mariadb/upstream/follow.ts';
import { gtidIn } from '#xdb/engine/mariadb/upstream/import.ts';
import { forgetful } from '#xdb/protocol/memory.ts';
import { type DbSpec, MemberStatus, SyncRecord } from '#xdb/schema.ts';
import { runningEngine } from './facts.ts';
import { statusOf } from './status.ts';
import { upstreamMaster } from './upstream.ts';

type Slave = NonNullable<EngineFacts['slave']>;

const slave: Slave = {
  ...{ masterHost: '10.1.1.1', masterPort: 3306, master: undefined, io: 'running', sql: 'running' },
  ...{ ioGtid: '3-1-50', ioError: '', sqlError: '', lagSeconds: null, backlogSeconds: 7 },
};
const facts: EngineFacts = {
  ...{
    instance: 'i',
    version: '11.8',
    uptimeSeconds: 5,
    readOnly: true,
    semiSyncMaster: false,
    semiSyncActive: false,
    semiSyncSlave: false,
  },
  ...{ waiters: 0, acknowledged: 0, unacknowledged: 0, binlogGtid: '3-1-50', appliedGtid: '3-1-50', dumps: [], openAccounts: [] },
  ...{ relayUnapplied: false, connections: 1 },
};
/** What the protocol sees of it; `a` is as far as `b` when they are the same. */
const seen = (change: Partial<Slave>, applied = '3-1-50') =>
  runningEngine(
    {
      ...{ me: 'bdb-1', facts: { ...facts, appliedGtid: applied, slave: { ...slave, ...change } }, waitAgeMs: 0, unacknowledgedBefore: 0 },
      ...{ memory: forgetful('i'), positions: new Map(), boots: {}, moveReached: false, busy: undefined },
      peerOf: () => ({ address: undefined, serverId: 77 }),
    },
    { compare: (a, b) => (a === b ? 0 : undefined) },
  );

describe('what is seen of a master that is no member', () => {
  it('is behind by what was received and not applied, by heartbeats where it writes some, and by nothing that is known while it is away', () => {
    expect(seen({}).slave).toMatchObject({ outside: true, of: undefined, drained: true, lagSeconds: 0 });
    expect(seen({}, '3-1-40').slave).toMatchObject({ drained: false, lagSeconds: 7 });
    expect(seen({ lagSeconds: 3 }, '3-1-40').slave.lagSeconds).toBe(3);
    expect(seen({ io: 'connecting', ioError: 'refused' }).slave).toMatchObject({ lagSeconds: null, trouble: 'refused', broken: undefined });
    expect(seen({ io: 'stopped', ioError: 'purged' }).slave.broken).toBe('purged');
  });

  it('is drained by its places where it has no GTIDs', () => {
    expect(seen({ ioGtid: '', drained: false }).slave.drained).toBe(false);
    expect(seen({ ioGtid: '', drained: true }).slave.drained).toBe(true);
  });

  it('makes its follower run, catch up, or fail', () => {
    const record = SyncRecord.parse({
      ...{ v: 1, leader: { id: 'bdb-1', gen: 'g' }, sync: null, cand: null, prev: null, state: 'open', epoch: 1, rev: 1, nonce: 'n' },
    });
    const said = (change: Partial<Slave>, alarm?: string) =>
      MemberStatus.parse(
        statusOf({
          ...{ member: 'bdb-1', node: 'n', address: '10.0.0.1', facts, sync: record, ready: null, replica: false, upstream: true },
          ...{ spec: undefined, startedSerial: 0, cloning: false, sentence: 's', disk: undefined, pendingRestart: [], time: new Date(0) },
          step: { rule: 'upstream', do: 'wait', reason: 's', ...(alarm === undefined ? {} : { alarm }) },
          local: { disk: { gen: 'g' }, engine: seen(change) } as Parameters<typeof statusOf>[0]['local'],
        }),
      );
    expect(said({})).toMatchObject({ state: 'running', role: 'master', readOnly: true, lagSeconds: 0 });
    expect(said({ io: 'connecting' }).state).toBe('catching_up');
    expect(said({ sql: 'stopped', sqlError: 'no such row' }, 'stopped').state).toBe('failed');
  });
});

describe('a pair that goes on in the numbering of another master', () => {
  const near = (received: string, binlogGtid: string) =>
    runningEngine(
      {
        ...{ me: 'bdb-1', facts: { ...facts, binlogGtid, dumps: [{ member: 'bdb-2', semiSync: false }] }, waitAgeMs: 0 },
        ...{ unacknowledgedBefore: 0, memory: forgetful('i'), moveReached: false, busy: undefined },
        positions: new Map([['bdb-2', { gen: 'g', boot: 'b', received, from: 'bdb-1' }]]),
        boots: { 'bdb-2': { boot: 'b', index: 1 } },
        peerOf: () => ({ address: undefined, serverId: 77 }),
      },
      { compare: () => undefined },
    ).near;

  it('sees how near a follower is in whichever domain is written now', () => {
    expect(near('0-5-100,3-1-50', '0-5-101,3-1-50')).toEqual(['bdb-2']);
    expect(near('0-5-100,3-1-50', '0-5-9100,3-1-50')).toEqual([]);
    expect(near('', '0-5-1')).toEqual([]);
  });
});

describe('where a master is spoken to', () => {
  const config = { paths: { ca: '/ca.pem' } } as Parameters<typeof upstreamMaster>[2];
  const credentials = { agent: 'a', replication: {}, users: {}, upstream: { user: 'u', password: 'p' } };
  const spec = (upstream: DbSpec['upstream']) => ({ upstream });

  it('is one of ours: its slave is followed, its master asked, with the pool’s CA', () => {
    const ours = spec({ host: 'adb', port: 3306, tls: true, ours: 'adb' });
    expect(upstreamMaster(ours, credentials, config, 'follow')).toMatchObject({ host: 'adb', port: 3307, caFile: '/ca.pem', tls: true });
    expect(upstreamMaster(ours, credentials, config, 'ask')).toMatchObject({ host: 'adb', port: 3306 });
  });

  it('is an outside one: as it was named, encrypted if it was seen to be', () => {
    const outside = spec({ host: 'old', port: 3310, tls: true });
    expect(upstreamMaster(outside, credentials, config, 'follow')).toEqual({
      host: 'old',
      port: 3310,
      user: 'u',
      password: 'p',
      tls: true,
      caFile: undefined,
    });
    expect(() => upstreamMaster(outside, undefined, config, 'follow')).toThrow(/not known yet/);
  });
});

describe('of which moment a dump is', () => {
  it('is said in a comment of its own, the last of which counts', () => {
    const text =
      "-- MariaDB dump\n-- SET GLOBAL gtid_slave_pos='0-1-3';\nINSERT\n-- SET GLOBAL gtid_slave_pos='3-1-10,0-1-7';\n-- Dump completed on x\n";
    expect(gtidIn(text, 'old')).toEqual({ gtid: '0-1-7,3-1-10' });
    expect(gtidIn("-- SET GLOBAL gtid_slave_pos='';\n", 'old')).toEqual({ gtid: '' });
  });

  it('is not believed from within a row, and not guessed', () => {
    expect(() => gtidIn("INSERT INTO t VALUES ('-- SET GLOBAL gtid_slave_pos=''0-1-3'';')\n", 'old')).toThrow(/which moment/);
  });
});

describe('how many transactions are missing', () => {
  it('is counted in each domain', () => {
    expect(lacking('3-1-10', '3-1-10')).toBe(0);
    expect(lacking('3-1-10,0-1-2', '0-2-9,3-1-12')).toBe(9);
    expect(lacking('', '3-1-4')).toBe(4);
    expect(lacking('3-1-10', '')).toBe(0);
  });
});
