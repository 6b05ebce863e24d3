import { createBell } from '#core/bell.ts';
import type { PeerAddress, PeerClient } from './peer-client.ts';
import type { Position } from './peer-protocol.ts';

/** Asks followers how far they have received, while somebody wants to know: nobody does once a slave is in sync. */
export interface Positions {
  /** Whom to ask from now on. */
  want(peers: readonly PeerAddress[]): void;
  /** Answers that are not older than a moment. */
  fresh(): ReadonlyMap<string, Position>;
  stop(): Promise<void>;
}

const EVERY_MS = 150;
const TIMEOUT_MS = 1000;
/** An older answer is none, in milliseconds. */
const FRESH_MS = 1500;

export function followPositions(client: Pick<PeerClient, 'position'>, onAnswer: () => void): Positions {
  const stopping = new AbortController();
  let peers: readonly PeerAddress[] = [];
  const bell = createBell(stopping.signal);
  const answers = new Map<string, { position: Position; at: number }>();

  async function ask(peer: PeerAddress): Promise<void> {
    const position = await client.position(peer, TIMEOUT_MS).catch(() => undefined);
    if (position === undefined) return;
    const before = answers.get(peer.member)?.position;
    answers.set(peer.member, { position, at: performance.now() });
    if (JSON.stringify(before) !== JSON.stringify(position)) onAnswer();
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      await Promise.all(peers.map(ask));
      await bell.wait(peers.length === 0 ? 60_000 : EVERY_MS);
    }
  })();

  return {
    want(next) {
      if (JSON.stringify(next) === JSON.stringify(peers)) return;
      peers = next;
      for (const member of answers.keys()) if (!peers.some((peer) => peer.member === member)) answers.delete(member);
      bell.ring();
    },
    fresh() {
      const now = performance.now();
      return new Map([...answers].filter(([, { at }]) => now - at < FRESH_MS).map(([member, { position }]) => [member, position]));
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
