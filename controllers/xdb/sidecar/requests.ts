import { AppError } from '#core/errors.ts';

/** What operators and the supervisor ask of this member, between its being asked and its being done. Forgotten when the sidecar ends. */
export interface Requests {
  /** The engine is to be started anew. @throws AppError `conflict` while the member ends */
  restart(instance: string | undefined): void;
  /** This member's copy is to be made anew. */
  reinit(gen: string | null): void;
  /** SIGTERM; the first one counts. */
  leave(at: number): void;
  /** What is still to be done, by what is seen now. */
  pending(seen: { instance: string | undefined; gen: string | null }): {
    stopping: { then: 'leave' | 'restart'; ageMs: number } | undefined;
    reinit: boolean;
  };
}

export function createRequests(now: () => number = () => performance.now()): Requests {
  let leaving: number | undefined;
  let restarting: { instance: string | undefined; at: number } | undefined;
  let renewing: { gen: string } | undefined;
  return {
    restart(instance) {
      if (leaving !== undefined) throw new AppError('conflict', 'this member is ending');
      restarting ??= { instance, at: now() };
    },
    reinit(gen) {
      if (gen !== null) renewing = { gen };
    },
    leave(at) {
      leaving ??= at;
    },
    pending({ instance, gen }) {
      // Another one runs: that is what was asked for.
      if (restarting !== undefined && instance !== undefined && instance !== restarting.instance) restarting = undefined;
      if (renewing !== undefined && renewing.gen !== gen) renewing = undefined;
      const at = leaving ?? restarting?.at;
      return {
        // biome-ignore lint/suspicious/noThenProperty: the protocol's word, and nobody awaits it
        stopping: at === undefined ? undefined : { then: leaving === undefined ? 'restart' : 'leave', ageMs: now() - at },
        reinit: renewing !== undefined,
      };
    },
  };
}
