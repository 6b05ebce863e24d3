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
  /** From one look to the next, in milliseconds, while the leader answers. */
  everyMs?: number;
  /** The same after one that failed, until it answers again; also the longest a look may take. */
  againMs?: number;
  /** Probes in a row that failed. */
  times?: number;
}

/** Denials of the second view in a row: one may be a lost packet. */
const SECOND_TIMES = 2;
/** Questions under way at a time: a host that is gone answers none for as long as one may take, and its death must not wait for one after the other. */
const SECOND_AT_ONCE = 2;

export function watchLeader({ probe, secondView, onChange, everyMs = 500, againMs = 500, times = 3 }: LeaderWatchOptions): LeaderWatch {
  const stopping = new AbortController();
  let target: LeaderTarget | undefined;
  let failures = 0;
  let denials = 0;
  let asking = 0;
  /** Changes when what was asked before counts no more. */
  let round = 0;

  const running = (async () => {
    while (!stopping.signal.aborted) {
      const looked = target;
      const began = performance.now();
      if (looked !== undefined) {
        const answered = await probe(looked, againMs);
        // Whom we look at may have changed meanwhile.
        if (same(looked, target)) judge(looked, answered);
      }
      const periodMs = failures === 0 ? everyMs : againMs;
      await sleep(Math.max(20, periodMs - (performance.now() - began)), stopping.signal);
    }
  })();

  function note(change: () => void): void {
    const before = `${failures >= times} ${denials >= SECOND_TIMES}`;
    change();
    if (before !== `${failures >= times} ${denials >= SECOND_TIMES}`) onChange();
  }

  function forget(): void {
    failures = 0;
    denials = 0;
    round += 1;
  }

  function judge({ node }: LeaderTarget, answered: boolean): void {
    if (answered) {
      note(forget);
      return;
    }
    note(() => {
      failures += 1;
    });
    const isKnown = denials >= SECOND_TIMES && failures % 4 !== 0;
    if (asking < SECOND_AT_ONCE && !isKnown) void askSecond(node);
  }

  async function askSecond(node: string): Promise<void> {
    const mine = round;
    asking += 1;
    try {
      const lives = await secondView(node);
      if (mine !== round || stopping.signal.aborted) return;
      note(() => {
        denials = lives === false ? denials + 1 : 0;
      });
    } finally {
      asking -= 1;
    }
  }

  return {
    aim(next) {
      if (same(next, target)) return;
      target = next;
      forget();
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
