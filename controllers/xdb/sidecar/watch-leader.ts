import { sleep } from '#core/sleep.ts';
import type { SecondView } from './second-view.ts';

/** Whom this member follows, and where. */
export interface LeaderTarget {
  member: string;
  address: string;
  port: number;
  node: string;
}

/** Looks at the leader without Consul: sessions end only after twice their TTL. */
export interface LeaderWatch {
  /** Nobody to look at when this member leads itself, or knows of no leader. */
  aim(target: LeaderTarget | undefined): void;
  /** The engine did not greet, again and again, and the host is not there for another host either. */
  dead(): boolean;
  /** The engine did not greet the last few times. */
  silent(): boolean;
  stop(): Promise<void>;
}

export interface LeaderWatchOptions {
  probe(target: LeaderTarget, timeoutMs: number): Promise<boolean>;
  secondView: SecondView;
  /** Something that decisions rest on has changed. */
  onChange(): void;
  everyMs?: number;
  /** Probes in a row that failed. */
  times?: number;
}

/** Denials of the second view in a row: one may be a lost packet. */
const SECOND_TIMES = 2;

export function watchLeader({ probe, secondView, onChange, everyMs = 500, times = 3 }: LeaderWatchOptions): LeaderWatch {
  const stopping = new AbortController();
  let target: LeaderTarget | undefined;
  let failures = 0;
  let denials = 0;

  const running = (async () => {
    while (!stopping.signal.aborted) {
      const looked = target;
      const began = performance.now();
      if (looked !== undefined) {
        const answered = await probe(looked, everyMs);
        // Whom we look at may have changed meanwhile.
        if (same(looked, target)) await judge(looked, answered);
      }
      await sleep(Math.max(20, everyMs - (performance.now() - began)), stopping.signal);
    }
  })();

  async function judge(looked: LeaderTarget, answered: boolean): Promise<void> {
    const before = `${failures >= times} ${denials >= SECOND_TIMES}`;
    failures = answered ? 0 : failures + 1;
    if (failures < times) denials = 0;
    else if (denials < SECOND_TIMES || failures % 4 === 0) {
      const lives = await secondView(looked.node);
      if (!same(looked, target)) return;
      denials = lives === false ? denials + 1 : 0;
    }
    if (before !== `${failures >= times} ${denials >= SECOND_TIMES}`) onChange();
  }

  return {
    aim(next) {
      if (same(next, target)) return;
      target = next;
      failures = 0;
      denials = 0;
    },
    dead: () => target !== undefined && failures >= times && denials >= SECOND_TIMES,
    silent: () => target !== undefined && failures >= times,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

function same(a: LeaderTarget | undefined, b: LeaderTarget | undefined): boolean {
  return a?.member === b?.member && a?.address === b?.address && a?.port === b?.port && a?.node === b?.node;
}
