import type { Attempt } from './journal.ts';

/** A time without an acknowledgement, in ms of the journals' clock. */
export interface Gap {
  from: number;
  to: number;
}

export interface Writable {
  /** The longest time without an acknowledgement. */
  longestMs: number;
  /** From the fault to the first acknowledgement after that; 0 when none of the gaps is longer than what the clients' own pauses explain. */
  afterMs: number;
  /** False when there was no acknowledgement any more before the end. */
  returned: boolean;
  /** Every gap longer than a second. */
  gaps: Gap[];
}

/** Shorter gaps are the clients' own pauses, on a busy machine. */
const NOTICED_MS = 400;

/** When acknowledgements came, in order. */
export function ackTimes(attempts: readonly Attempt[]): number[] {
  return attempts.flatMap(({ outcome, endedAt }) => (outcome === 'acked' && endedAt !== undefined ? [endedAt] : [])).sort((a, b) => a - b);
}

/**
 * How long nothing was acknowledged between a fault and the end of its watch.
 *
 * @param acks sorted, see {@link ackTimes}
 */
export function writable(acks: readonly number[], { from, to }: Gap): Writable {
  const within = acks.filter((at) => at >= from && at <= to);
  const marks = [from, ...within, to];
  const gaps = marks.slice(1).map((at, i): Gap => ({ from: marks[i]!, to: at }));
  const longest = gaps.reduce((a, b) => (b.to - b.from > a.to - a.from ? b : a), { from, to: from });
  const longestMs = longest.to - longest.from;
  const returned = longest.to !== to || longestMs <= NOTICED_MS;
  return {
    longestMs,
    afterMs: longestMs <= NOTICED_MS ? 0 : longest.to - from,
    returned,
    gaps: gaps.filter((gap) => gap.to - gap.from > 1000),
  };
}
