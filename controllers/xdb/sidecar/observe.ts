import { createAgeOf } from '#core/age-of.ts';
import { within } from '#member/within.ts';
import type { Engine, EngineFacts } from '#xdb/engine/engine.ts';
import { memoryOf } from '#xdb/protocol/memory.ts';
import type { Local, Memory } from '#xdb/protocol/types.ts';
import type { MemberMemory } from './disk.ts';
import type { DiskUse } from './disk-guard.ts';
import type { EngineLook } from './engine-link.ts';
import { type Positions, runningEngine } from './facts.ts';
import type { RecordsView } from './records.ts';
import type { Requests } from './requests.ts';
import { serverIdOf } from './server-id.ts';
import { createUnacknowledged } from './unacknowledged.ts';
import { createWaitAge } from './wait-age.ts';

/** What one turn has seen. */
export interface Seen {
  view: RecordsView | undefined;
  consulAgeMs: number;
  look: EngineLook;
  disk: MemberMemory;
  memory: Memory;
  positions: Positions;
  /** The leader, seen from here. */
  leader: { dead: boolean; silent: boolean };
  session: boolean;
  diskUse: DiskUse | undefined;
}

export interface Observer {
  localOf(seen: Seen): Promise<Local>;
  /** F was done just now. */
  fellBack(): void;
}

export interface ObserverOptions {
  db: string;
  me: string;
  /** Where a member was last known to be. */
  addressOf(member: string): string | undefined;
  engine: Pick<Engine, 'compare'>;
  requests: Requests;
  now?: () => number;
}

const RECEIVED_MS = 1000;

/** K2: up to where this member has acknowledged with the very data that it has, in the epoch of the record; undefined where nobody says so. */
function ackedBy({ view, disk }: Seen, me: string): string | undefined {
  const { acked, protocol } = view ?? {};
  const named = protocol?.sync?.value.sync;
  if (acked === undefined || named == null || named.id !== me || named.gen !== disk.gen) return undefined;
  return acked.sync.id === me && acked.sync.gen === disk.gen && acked.epoch === protocol?.sync?.value.epoch ? acked.gtid : undefined;
}

/** Keeps what looks need of one another: since when things are as they are. */
export function createObserver({ db, me, addressOf, engine, requests, now = () => performance.now() }: ObserverOptions): Observer {
  const waitAge = createWaitAge(now);
  const unacknowledged = createUnacknowledged();
  const promotingAge = createAgeOf(now);
  const moveAge = createAgeOf(now);
  let fellBackAt = Number.NEGATIVE_INFINITY;

  async function engineOf(seen: Seen, facts: EngineFacts): Promise<Local['engine']> {
    const { view, look } = seen;
    const move = view?.protocol.move?.value;
    const mustReach = move?.state === 'blocked' && move.target === me ? move.gtid : undefined;
    const moveReached =
      mustReach !== undefined &&
      look.state === 'running' &&
      (await within(look.session.received(mustReach), RECEIVED_MS, 'the position').catch(() => false));
    const data = Object.entries(view?.protocol.data ?? {});
    const input = {
      me,
      facts,
      waitAgeMs: waitAge(facts),
      unacknowledgedBefore: unacknowledged(facts),
      memory: memoryOf(seen.memory, facts.instance),
      positions: seen.positions,
      boots: Object.fromEntries(data.map(([id, { value, index }]) => [id, { boot: value.boot, index }])),
      moveReached,
      peerOf: (id: string) => ({ address: addressOf(id), serverId: serverIdOf(db, id) }),
      busy: facts.busy,
      acked: ackedBy(seen, me),
    };
    return runningEngine(input, engine);
  }

  return {
    fellBack() {
      fellBackAt = now();
    },
    async localOf(seen) {
      const { view, look, disk, leader } = seen;
      const sync = view?.protocol.sync?.value;
      const move = view?.protocol.move?.value;
      const state = look.state === 'running' ? await engineOf(seen, look.facts) : look;
      const slave = state.state === 'running' ? state.slave : undefined;
      return {
        me,
        disk: { gen: disk.gen ?? undefined, wasMaster: disk.wasMaster, rev: disk.rev, epoch: disk.epoch },
        engine: state,
        memory: seen.memory,
        leader: { dead: leader.dead, heard: slave?.io === 'running' && slave.of === sync?.leader.id && !leader.silent },
        consulAgeMs: seen.consulAgeMs,
        session: seen.session,
        ...requests.pending({ instance: look.state === 'running' ? look.facts.instance : undefined, gen: disk.gen }),
        diskFull: seen.diskUse?.state === 'read_only',
        promotingAgeMs: promotingAge(sync?.state === 'promoting' ? `${sync.leader.id} ${sync.epoch}` : undefined),
        moveAgeMs: moveAge(move === undefined ? undefined : `${move.id} ${move.state}`),
        fallBackAgeMs: now() - fellBackAt,
      };
    },
  };
}
