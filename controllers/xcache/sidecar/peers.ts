import { type Bell, createBell } from '#core/bell.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';

/** Engines of the other members, seen from here by real commands on connections that are kept. */
export interface Peers {
  /** Whom to look at, and where. */
  aim(targets: ReadonlyMap<string, string>): void;
  /** Undefined for one that was not looked at yet. `silentMs`: since the beginning of the newest look that was answered, 0 when that was the last one. */
  of(member: string): { silentMs: number; facts: EngineFacts | undefined } | undefined;
  /** Looks at once. */
  hurry(): void;
  stop(): Promise<void>;
}

export interface PeersOptions {
  connect(address: string): Promise<EngineSession>;
  onChange(): void;
  everyMs?: number;
}

interface Watched {
  address: string;
  /** Beginning of the newest look that was answered. */
  heardAt: number;
  /** The newest look that has ended was answered. */
  answered: boolean;
  facts: EngineFacts | undefined;
  session: EngineSession | undefined;
  stopping: AbortController;
  bell: Bell;
  running: Promise<void>;
}

export function watchPeers({ connect, onChange, everyMs = 400 }: PeersOptions): Peers {
  const watched = new Map<string, Watched>();

  function begin(address: string): Watched {
    const stopping = new AbortController();
    const one: Watched = {
      ...{ address, heardAt: performance.now(), answered: false, facts: undefined, session: undefined },
      ...{ stopping, bell: createBell(stopping.signal), running: Promise.resolve() },
    };
    one.running = turn(one);
    return one;
  }

  async function turn(one: Watched): Promise<void> {
    while (!one.stopping.signal.aborted) {
      const began = performance.now();
      const before = gist(one);
      try {
        one.session ??= await connect(one.address);
        one.facts = await one.session.facts();
        one.heardAt = began;
        one.answered = true;
      } catch {
        one.session?.close();
        one.session = undefined;
        one.answered = false;
      }
      if (gist(one) !== before) onChange();
      await one.bell.wait(Math.max(50, everyMs - (performance.now() - began)));
    }
    one.session?.close();
  }

  const end = (one: Watched) => {
    one.stopping.abort();
    one.session?.close();
    return one.running;
  };

  return {
    aim(targets) {
      for (const [member, one] of watched) {
        if (targets.get(member) === one.address) continue;
        void end(one);
        watched.delete(member);
      }
      for (const [member, address] of targets) if (!watched.has(member)) watched.set(member, begin(address));
    },
    of(member) {
      const one = watched.get(member);
      if (one === undefined) return undefined;
      return { silentMs: one.answered ? 0 : performance.now() - one.heardAt, facts: one.facts };
    },
    hurry() {
      for (const one of watched.values()) one.bell.ring();
    },
    async stop() {
      await Promise.all([...watched.values()].map(end));
    },
  };
}

/** What of a look decisions rest on. */
function gist({ answered, facts }: Watched): string {
  return `${answered} ${facts?.run} ${facts?.role} ${facts?.linkUp} ${facts?.minReplicas}`;
}
