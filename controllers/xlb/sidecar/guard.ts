import type { Instance } from './table.ts';

/**
 * Pure: whether an answer of Consul that would leave a service without instances is to be believed. Every registry client that took an empty answer
 * at its word has emptied live services with it: a follower that had not restored its state yet, a token that lost a right, an agent that was restarted.
 */

/**
 * Longest time an empty answer is held against instances that still answer, in milliseconds. Consul's agents enter their services again within
 * their sync interval of one minute (docs on anti-entropy, up to 128 nodes), plus half of that for a pool that is just coming up.
 */
export const HOLD_MS = 90_000;

/** Between two looks at a service that is held, in milliseconds. */
export const RECHECK_MS = 5000;

export interface Evidence {
  /** A second read, in consistent mode, which only a leader answers. */
  second: 'empty' | 'some' | 'failed';
  /**
   * Whether this token still sees the service `consul`, which every pool has. A token that lost its rights gets empty lists, not errors.
   */
  witness: boolean;
  /** The records of the targets that were added by hand are gone too: somebody removed them on purpose. */
  removed: boolean;
  /** Ids of the instances that accept TCP connections now; undefined = not looked at yet. */
  alive: ReadonlySet<string> | undefined;
  /** Since when the service has been empty without a break, and now; in milliseconds. */
  emptySince: number;
  now: number;
}

export type Verdict =
  | { do: 'believe'; reason: string }
  /** Look whether the old instances answer, then ask again. */
  | { do: 'probe' }
  /** What stays of the old instances, and why. */
  | { do: 'keep'; instances: Instance[]; reason: string };

export function judgeEmpty(service: string, prior: readonly Instance[], evidence: Evidence, holdMs = HOLD_MS): Verdict {
  const { second, witness, removed, alive, emptySince, now } = evidence;
  const keepAll = (reason: string): Verdict => ({ do: 'keep', instances: [...prior], reason });
  if (prior.length === 0) return { do: 'believe', reason: `${service} had no instances before` };
  if (second === 'failed') return keepAll(`Consul says that ${service} is empty but does not confirm it`);
  if (second === 'some') return keepAll(`Consul contradicts itself about ${service}`);
  if (!witness) return keepAll(`Consul says that ${service} is empty, to a token that sees no services at all`);
  if (removed) return { do: 'believe', reason: `the last target of ${service} was removed` };
  const wanted = prior.filter((instance) => instance.state === 'up');
  if (wanted.length === 0) return { do: 'believe', reason: `the instances of ${service} were draining or down before they went` };
  if (alive === undefined) return { do: 'probe' };
  const answering = wanted.filter((instance) => alive.has(instance.id));
  if (answering.length === 0) return { do: 'believe', reason: `no instance of ${service} answers any more` };
  if (now - emptySince >= holdMs)
    return { do: 'believe', reason: `${service} has been empty for ${Math.round((now - emptySince) / 1000)} s` };
  return {
    do: 'keep',
    instances: answering,
    reason: `Consul says that ${service} is empty, but ${answering.length} of its instances answer`,
  };
}
