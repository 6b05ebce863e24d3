import { createBackoff } from '#core/backoff.ts';
import { AppError, toAppError } from '#core/errors.ts';
import type { TableContent } from './table.ts';

/** An engine that serves groups: nginx or HAProxy. */
export interface Sink {
  readonly name: 'nginx' | 'haproxy';
  /** @returns `live` when every worker runs with it, `stale` when the engine holds this version or a newer one */
  put(content: TableContent, version: number): Promise<'live' | 'stale'>;
  /** The newest version of any group that the engine holds. */
  highestVersion(): Promise<number>;
}

/** One counter for all groups of the sidecar: versions never go back, also when the sidecar is started again. */
export interface Versions {
  next(): number;
  /** What was met somewhere: the next one is above it. */
  met(version: number): void;
}

export function createVersions(start = 0): Versions {
  let last = start;
  return {
    next: () => ++last,
    met(version) {
      if (Number.isSafeInteger(version)) last = Math.max(last, version);
    },
  };
}

/** One group on its way to one engine. */
export interface Lane {
  readonly sink: Sink;
  /** The table that is wanted from now on; the newest wins, those in between are skipped. */
  offer(content: TableContent, hash: string): void;
  /** The engine was found without it, or with something else. */
  invalidate(): void;
  /** The version that every worker of the engine runs with. */
  live(): { version: number; hash: string } | undefined;
  wantedHash(): string | undefined;
  error(): AppError | undefined;
  stop(): void;
}

const MAX_STALE = 5;

export interface LaneOptions {
  sink: Sink;
  versions: Versions;
  /** What the engine is known to run with from before. */
  live?: { version: number; hash: string } | undefined;
  /** After each table that became live. */
  onLive(content: TableContent, version: number): void;
  onChange(): void;
}

export function createLane({ sink, versions, live: known, onLive, onChange }: LaneOptions): Lane {
  const backoff = createBackoff(100, 5000);
  let wanted: { content: TableContent; hash: string } | undefined;
  let live = known;
  let failure: AppError | undefined;
  let pushing = false;
  let stopped = false;
  let retry: NodeJS.Timeout | undefined;

  async function push(): Promise<void> {
    if (pushing || stopped) return;
    pushing = true;
    clearTimeout(retry);
    let stale = 0;
    while (wanted !== undefined && wanted.hash !== live?.hash && !stopped) {
      const { content, hash } = wanted;
      const version = versions.next();
      try {
        if ((await sink.put(content, version)) === 'stale') {
          versions.met(await sink.highestVersion());
          stale += 1;
          if (stale > MAX_STALE) throw new AppError('engine', `${sink.name} calls every version of ${content.name} old`);
          continue;
        }
        live = { version, hash };
        failure = undefined;
        backoff.reset();
        onLive(content, version);
      } catch (error) {
        failure = toAppError(error);
        retry = setTimeout(() => void push(), backoff.next());
        break;
      }
    }
    pushing = false;
    onChange();
  }

  return {
    sink,
    offer(content, hash) {
      wanted = { content, hash };
      if (hash !== live?.hash) void push();
    },
    invalidate() {
      live = undefined;
      void push();
    },
    live: () => live,
    wantedHash: () => wanted?.hash,
    error: () => failure,
    stop() {
      stopped = true;
      clearTimeout(retry);
    },
  };
}
