import { type Found, search } from '#xdb/protocol/model/search.ts';
import { createWorld, type World, type WorldGuards, type WorldOptions } from '#xdb/protocol/model/world.ts';
import type { Guards } from '#xdb/protocol/types.ts';

/** One guard left out, and the smallest world in which that is seen to break what must hold. */
export interface Mutation {
  /** Guards that are left out: of decide, or of the execution. */
  off: readonly (keyof Guards | keyof WorldGuards)[];
  rule: string;
  world?: Omit<WorldOptions, 'live' | 'guards' | 'worldGuards'>;
  /** 1 unless said. */
  live?: number;
  /** Takes more than half a second: not among the unit tests. */
  slow?: boolean;
}

const diskLoss = { diskLoss: true };

export const MUTATIONS: readonly Mutation[] = [
  { off: ['recordBeforeAsync'], rule: 'F1: the record before semi-sync off' },
  { off: ['freshNone'], rule: 'F1: also when it says so already', slow: true },
  { off: ['unknownIsNotDone'], rule: 'A3: unknown is not done', slow: true },
  { off: ['compareAndSet'], rule: 'A3: writes are compare-and-set' },
  { off: ['semiSyncAwaited'], rule: 'S1, O2, B: semi-sync while a slave is named' },
  { off: ['freshNoneAtStart'], rule: 'S1, O: the record before an opening without a slave', slow: true },
  { off: ['leaderKeeps'], rule: 'S1: a leader does not truncate' },
  { off: ['keepWhilePromoting'], rule: 'S2: nobody truncates while somebody promotes' },
  { off: ['slaveKeeps'], rule: 'S3: a slave does not truncate' },
  { off: ['recordBeforeStart'], rule: 'S0: no start by local belief', slow: true },
  { off: ['recordBeforeStart', 'semiSyncAtStart'], rule: 'S0: the same, semi-sync off' },
  { off: ['namedPromotes'], rule: 'P1: only who is named' },
  { off: ['stopReceiving'], rule: 'P2: stop the IO thread' },
  { off: ['drain'], rule: 'P3: apply what was received' },
  { off: ['forgetMaster'], rule: 'P4: a stray START SLAVE finds no master', world: { strays: 'start_slave' }, live: 2, slow: true },
  { off: ['openBeforeWrites'], rule: 'P5: open before the first write', slow: true },
  { off: ['semiSyncBeforeSample'], rule: 'B: semi-sync before the sample', slow: true },
  { off: ['awaitPosition'], rule: 'B: the candidate has the sample' },
  { off: ['semiSyncBeforeRecord'], rule: 'B: semi-sync before B3', slow: true },
  { off: ['candidateUnchanged'], rule: "B3: the candidate's boot and generation", world: diskLoss, slow: true },
  { off: ['candidateUnchanged', 'candidateReady'], rule: 'B3 and ready, both', slow: true },
  { off: ['candidateReady'], rule: 'J3: a candidate is ready', slow: true },
  { off: ['markerBeforeReady'], rule: 'J3: the marker before ready', slow: true },
  { off: ['readyInEpoch'], rule: 'J3: ready in this epoch', slow: true },
  { off: ['compare'], rule: 'J2: compare before following', live: 2, slow: true },
  { off: ['rescueRelay'], rule: 'J1: replay the relay log' },
  { off: ['skipSlaveStart'], rule: 'J1: skip_slave_start' },
  { off: ['newAfterReboot'], rule: 'G1: other data after a reboot of the host' },
  { off: ['notedBeforeFollow'], rule: 'J2: noted before anything is received', slow: true },
  { off: ['notedUntilApplied'], rule: 'P4: noted until everything is applied' },
  { off: ['generation'], rule: 'G1: who promotes', world: diskLoss },
  { off: ['generationAgain'], rule: 'G1: again at each step', world: diskLoss },
  { off: ['withdraw', 'generation'], rule: 'R1 and G1, both' },
  { off: ['killDeposed'], rule: 'D1: no semi-sync off with waiters' },
  { off: ['sigkill'], rule: 'D1: SIGKILL, not SIGTERM' },
  { off: ['readOnlyBeforeKill'], rule: 'W1: read-only before users are sent away' },
  { off: ['adopt'], rule: 'A1: commands of a former life', slow: true },
  { off: ['onlySidecarStarts'], rule: 'A2: only the sidecar starts the engine' },
];

/** Guards without which nothing was found, because another one stands behind them: complete searches without a violation. */
export const REDUNDANT: readonly Mutation[] = [
  { off: ['semiSyncAtStart'], rule: 'S1: semi-sync from the first moment (O2 stands behind it)' },
  { off: ['withdraw'], rule: 'R1: withdraw before a wipe (G1 stands behind it)', world: diskLoss },
];

export function mutated(mutation: Mutation): World {
  const off = Object.fromEntries(mutation.off.map((guard) => [guard, false]));
  return createWorld({ promptPublications: true, ...mutation.world, live: mutation.live ?? 1, guards: off, worldGuards: off });
}

export const tryMutation = (mutation: Mutation, maxMs: number): Found => search(mutated(mutation), { maxStates: 30_000_000, maxMs });
