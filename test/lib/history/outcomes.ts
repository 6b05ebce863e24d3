/** What a client counts, to be asked while it runs; the truth is in its journal. */
export interface Outcomes {
  acked: number;
  refused: number;
  unknown: number;
  /** Tries to connect that failed. */
  unconnected: number;
  /** When the last acknowledgement came (monotonic ms). */
  lastAckAt: number | undefined;
  /** The last few different reasons, newest last. */
  reasons: string[];
}

const KEPT = 5;

export function createOutcomes() {
  const counts: Outcomes = { acked: 0, refused: 0, unknown: 0, unconnected: 0, lastAckAt: undefined, reasons: [] };
  return {
    seen(what: 'acked' | 'refused' | 'unknown' | 'unconnected', why: string, at: number): void {
      counts[what]++;
      if (what === 'acked') counts.lastAckAt = at;
      else counts.reasons = [...counts.reasons.filter((reason) => reason !== why), why].slice(-KEPT);
    },
    now: (): Outcomes => ({ ...counts, reasons: [...counts.reasons] }),
  };
}
