import type { Engine, EngineFacts } from '#xdb/engine/engine.ts';
import type { Memory, RunningEngine, SlaveFacts } from '#xdb/protocol/types.ts';
import type { Position } from './peer-protocol.ts';

/** What followers said of themselves, when this member asked them a moment ago. */
export type Positions = ReadonlyMap<string, Position>;

export interface FactsInput {
  me: string;
  facts: EngineFacts;
  waitAgeMs: number;
  /** Commits that had been let go without an acknowledgement when semi-sync was switched on. */
  unacknowledgedBefore: number;
  memory: Memory;
  positions: Positions;
  /** Boot of each member as its data record says, and that record's index. */
  boots: Readonly<Record<string, { boot: string; index: number }>>;
  /** Where a member is now, and its engine's number: whom a slave is told to follow is known by a name that was written down when it was. */
  peerOf(member: string): { address: string | undefined; serverId: number };
  moveReached: boolean;
  busy: string | undefined;
  /** K2: up to where this member is said to have acknowledged. */
  acked?: string | undefined;
}

/** Pure: what the engine said, in the words of the protocol. */
export function runningEngine(input: FactsInput, engine: Pick<Engine, 'compare'>): RunningEngine {
  const { me, facts, memory } = input;
  const reaches = (position: string, goal: string) => {
    const order = engine.compare(position, goal);
    return order === 0 || order === 1;
  };
  const dumps = facts.dumps.filter(({ semiSync }) => semiSync).map(({ member }) => member);
  const connected = new Set(facts.dumps.map(({ member }) => member));
  /** A position counts with the boot that the member's record names: that of a boot before may be of data that are gone since. */
  const positionOf = (member: string) => {
    const position = input.positions.get(member);
    return position !== undefined && position.from === me && position.boot === input.boots[member]?.boot ? position : undefined;
  };
  const { back } = memory;
  const candidate = back === undefined ? undefined : positionOf(back.candidate.id);
  return {
    state: 'running',
    instance: facts.instance,
    readOnly: facts.readOnly,
    semiSyncMaster: facts.semiSyncMaster,
    semiSyncLapsed: facts.semiSyncMaster && (!facts.semiSyncActive || facts.unacknowledged > input.unacknowledgedBefore),
    waiters: facts.waiters,
    waitAgeMs: input.waitAgeMs,
    slave: slaveFacts(input, reaches),
    relayUnapplied: facts.relayUnapplied,
    openAccounts: facts.openAccounts,
    dumps,
    near: [...input.positions.keys()].filter(
      (member) => connected.has(member) && isNear(positionOf(member)?.received, facts.binlogGtid, reaches),
    ),
    candidateReached:
      back?.g !== undefined &&
      candidate !== undefined &&
      candidate.gen === back.candidate.gen &&
      input.boots[back.candidate.id]?.index === back.candidateIndex &&
      dumps.includes(back.candidate.id) &&
      reaches(candidate.received, back.g),
    moveReached: input.moveReached,
    busy: input.busy,
    ...lacking(input, reaches),
  };
}

/** K2. Where what was received is not known yet nothing is said. */
function lacking({ facts, acked }: FactsInput, reaches: (position: string, goal: string) => boolean): Pick<RunningEngine, 'lacks'> {
  if (acked === undefined || facts.slave === undefined) return {};
  const { ioGtid } = facts.slave;
  const has = (ioGtid !== '' && reaches(ioGtid, acked)) || reaches(facts.appliedGtid, acked);
  return has ? {} : { lacks: { acked, received: ioGtid === '' ? facts.appliedGtid : ioGtid } };
}

/** Positions are a moment old while writes go on: a few transactions behind is near. */
const NEAR_TRANSACTIONS = 2000n;

function isNear(received: string | undefined, goal: string, reaches: (position: string, goal: string) => boolean): boolean {
  if (received === undefined) return false;
  if (reaches(received, goal)) return true;
  const [behind, ahead] = [lastSequence(received), lastSequence(goal)];
  return behind !== undefined && ahead !== undefined && ahead - behind <= NEAR_TRANSACTIONS;
}

/** The numbers that a position has at the ends of its parts grow with each transaction; undefined where there are none. */
function lastSequence(position: string): bigint | undefined {
  const numbers = position.split(',').flatMap((part) => /(\d+)$/.exec(part.trim())?.[1] ?? []);
  return numbers.length === 0 ? undefined : numbers.reduce((sum, digits) => sum + BigInt(digits), 0n);
}

function slaveFacts({ facts, peerOf }: FactsInput, reaches: (position: string, goal: string) => boolean): SlaveFacts {
  const { slave, appliedGtid, relayUnapplied } = facts;
  if (slave === undefined) {
    return { of: undefined, outside: false, io: 'stopped', sql: 'stopped', drained: !relayUnapplied, lagSeconds: null, broken: undefined };
  }
  const byGtid = () => slave.ioGtid === '' || slave.ioGtid === appliedGtid || reaches(appliedGtid, slave.ioGtid);
  const drained = !relayUnapplied && (slave.drained ?? byGtid());
  return {
    of: whom(slave, peerOf),
    outside: slave.master === undefined,
    io: slave.io,
    sql: slave.sql,
    drained,
    // Once everything is applied the age of the last row tells how long the master has been silent, not how far the slave is behind.
    lagSeconds: slave.master === undefined ? outsideLag(slave, drained) : drained ? 0 : slave.lagSeconds,
    broken: brokenBecause(slave),
    ...(slave.io === 'connecting' && slave.ioError !== '' ? { trouble: slave.ioError } : {}),
  };
}

/** Of a master that is no member: one of ours writes heartbeats, another server does not. While it is away nobody knows how much it has meanwhile. */
function outsideLag({ io, lagSeconds, backlogSeconds }: NonNullable<EngineFacts['slave']>, drained: boolean): number | null {
  if (io !== 'running') return lagSeconds;
  return drained ? 0 : (lagSeconds ?? backlogSeconds ?? null);
}

/** A member that has got another address since, or whose address is another engine's by now, is not followed any more. */
function whom({ master, masterHost, masterServerId }: NonNullable<EngineFacts['slave']>, peerOf: FactsInput['peerOf']): string | undefined {
  if (master === undefined) return undefined;
  const { address, serverId } = peerOf(master);
  if (address !== undefined && address !== masterHost) return undefined;
  return masterServerId === undefined || masterServerId === 0 || masterServerId === serverId ? master : undefined;
}

/** A thread that stopped by itself says why; one that goes on trying (a locked account, a master that is away) is not broken. */
function brokenBecause({ io, ioError, sql, sqlError }: NonNullable<EngineFacts['slave']>): string | undefined {
  if (sql === 'stopped' && sqlError !== '') return sqlError;
  return io === 'stopped' && ioError !== '' ? ioError : undefined;
}
