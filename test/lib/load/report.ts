/** What a load driver saw: every request that was sent either succeeded or is explained. */
export interface Failure {
  /** When it failed, RFC 3339 with milliseconds. */
  time: string;
  /** The same in milliseconds since the driver's first request. */
  atMs: number;
  /** One word to count by: `refused`, `reset`, `closed`, `timeout`, `unreachable`, `dns`, `truncated`, `wrong_body`, `status_503`, … */
  reason: string;
  status?: number;
  /** What the system or the server said. */
  message: string;
  /** How long the request had run, ms. */
  elapsedMs: number;
  /** True when it failed on a connection that had served a request before: the server may have closed it while the request was on its way. */
  reused?: boolean;
}

export interface LoadReport {
  sent: number;
  ok: number;
  failed: number;
  byReason: Record<string, number>;
  byStatus: Record<string, number>;
  /** Successful answers by the `container` that the target named, see test/lib/web/server.mjs. */
  byServer: Record<string, number>;
  /** The first 5,000; `failed` counts all. */
  failures: Failure[];
  /** Of successful requests, ms. With `rps` measured from the time a request was due, so that a stalled target cannot hide behind a waiting driver. */
  latency: { p50: number; p90: number; p99: number; max: number; mean: number };
  /** The longest time in which no request succeeded, ms, the times before the first and after the last success included. */
  longestGapMs: number;
  /** When that gap began, RFC 3339. */
  longestGapAt: string;
  seconds: number;
  perSecond: number;
}

const KEPT = 5000;

/** Counts requests. All times are in milliseconds of one monotonic clock; `epoch` turns them into times of day. */
export class Recorder {
  #sent = 0;
  #failed = 0;
  readonly #latencies: number[] = [];
  readonly #failures: Failure[] = [];
  readonly #byReason = new Map<string, number>();
  readonly #byStatus = new Map<string, number>();
  readonly #byServer = new Map<string, number>();
  #lastOk: number;
  #gap = 0;
  #gapAt: number;
  readonly #start: number;
  readonly #epoch: number;

  /** @param epoch time of day, in ms since 1970, at `start` */
  constructor(start: number, epoch: number) {
    this.#start = start;
    this.#lastOk = start;
    this.#gapAt = start;
    this.#epoch = epoch;
  }

  sent(): void {
    this.#sent++;
  }

  ok(now: number, { latencyMs, status, server }: { latencyMs: number; status?: number; server?: string }): void {
    this.#latencies.push(latencyMs);
    if (status !== undefined) add(this.#byStatus, String(status));
    if (server !== undefined) add(this.#byServer, server);
    this.#gapUntil(now);
    this.#lastOk = Math.max(now, this.#lastOk);
  }

  failed(now: number, failure: Omit<Failure, 'time' | 'atMs'>): void {
    this.#failed++;
    add(this.#byReason, failure.reason);
    if (failure.status !== undefined) add(this.#byStatus, String(failure.status));
    if (this.#failures.length < KEPT)
      this.#failures.push({ time: this.#time(now), atMs: round(now - this.#start), ...failure, elapsedMs: round(failure.elapsedMs) });
  }

  report(now: number, { failures = true }: { failures?: boolean } = {}): LoadReport {
    const gap = Math.max(this.#gap, now - this.#lastOk);
    const gapAt = now - this.#lastOk > this.#gap ? this.#lastOk : this.#gapAt;
    const sorted = Float64Array.from(this.#latencies).sort();
    const seconds = Math.max(now - this.#start, 1) / 1000;
    return {
      sent: this.#sent,
      ok: sorted.length,
      failed: this.#failed,
      byReason: Object.fromEntries(this.#byReason),
      byStatus: Object.fromEntries(this.#byStatus),
      byServer: Object.fromEntries(this.#byServer),
      failures: failures ? this.#failures : [],
      latency: {
        p50: round(quantile(sorted, 0.5)),
        p90: round(quantile(sorted, 0.9)),
        p99: round(quantile(sorted, 0.99)),
        max: round(quantile(sorted, 1)),
        mean: round(sorted.length === 0 ? 0 : sorted.reduce((sum, value) => sum + value, 0) / sorted.length),
      },
      longestGapMs: round(gap),
      longestGapAt: this.#time(gapAt),
      seconds: round(seconds),
      perSecond: round(sorted.length / seconds),
    };
  }

  #gapUntil(now: number): void {
    if (now - this.#lastOk <= this.#gap) return;
    this.#gap = now - this.#lastOk;
    this.#gapAt = this.#lastOk;
  }

  #time(now: number): string {
    return new Date(this.#epoch + now - this.#start).toISOString();
  }
}

/** The value that a share `q` of the sorted values does not exceed (nearest rank); 0 without values. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? 0;
}

/** One word for a failed connection or request. */
export function reasonOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  if (/socket hang up|other side closed/i.test(message)) return 'closed';
  if (/certificate|self.signed|\bSSL|\bTLS|_SSL_|_TLS_|UNABLE_TO_VERIFY/i.test(`${code} ${message}`)) return 'tls';
  const known: Record<string, string> = {
    ECONNREFUSED: 'refused',
    ECONNRESET: 'reset',
    EPIPE: 'reset',
    ETIMEDOUT: 'timeout',
    EHOSTUNREACH: 'unreachable',
    ENETUNREACH: 'unreachable',
    ENETDOWN: 'unreachable',
    ENOTFOUND: 'dns',
    EAI_AGAIN: 'dns',
    ENOENT: 'refused',
    EADDRNOTAVAIL: 'no_local_port',
    EMFILE: 'no_local_file',
  };
  return known[code] ?? (code ? code.toLowerCase() : 'error');
}

function add(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
