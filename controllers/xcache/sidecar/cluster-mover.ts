import { messageOf } from '#core/errors.ts';
import type { SlotRange } from '#xcache/cluster/slots.ts';
import { AGENT_USER, type EngineSession } from '#xcache/engine/session.ts';
import { CLUSTER_PORTS } from './config.ts';
import { createBreather } from './pace.ts';

/**
 * Moves slots in the older way, a few at a time: marked on both sides, keys copied and removed batch by batch, then given to the new master. Clients are sent after their keys by the
 * engines meanwhile. It may end at any point: the marks say how to go on (cluster/repair.ts).
 */
export interface Mover {
  /** Slots are being moved. */
  busy(): boolean;
  /** Begins, and returns at once. One move a source at a time: others are left out. */
  begin(move: OlderMove): void;
  /** Why the newest one ended before its end. */
  failure(): string | undefined;
  stop(): Promise<void>;
}

export interface OlderMove {
  from: { id: string; node: string; address: string };
  to: { id: string; node: string; address: string };
  slots: SlotRange;
  /** All masters are told. */
  others: string[];
}

export interface MoverOptions {
  connect(address: string, timeoutMs: number): Promise<EngineSession>;
  password(): string | undefined;
  /** Whether this member may still act: asked before each batch of keys. */
  holds(): boolean;
  onEnd(): void;
}

/** So many slots are marked, and given to the new master, together: each change of owners is written to disk by every engine, while its clients wait. */
const SLOTS_AT_ONCE = 64;
/** A batch is one command: both engines do nothing else meanwhile. */
const KEYS_A_BATCH = 50;
/** Of one MIGRATE: a large key takes its time. */
const MIGRATE_MS = 5000;
const CALL_MS = 8000;

export function createMover({ connect, password, holds, onEnd }: MoverOptions): Mover {
  const running = new Map<string, Promise<void>>();
  const stopping = new AbortController();
  let failure: string | undefined;

  async function work({ from, to, slots, others }: OlderMove): Promise<void> {
    const open: EngineSession[] = [];
    const at = async (address: string) => {
      const session = await connect(address, CALL_MS);
      open.push(session);
      return session;
    };
    try {
      const [source, target] = await Promise.all([at(from.address), at(to.address)]);
      const breathe = createBreather(stopping.signal);
      const rest = await Promise.all(others.map((address) => at(address).catch(() => undefined)));
      for (let first = slots.first; first <= slots.last; first += SLOTS_AT_ONCE) {
        // Whoever has rested may not be the one any more: it marks nothing that another would have to go on with.
        if (stopping.signal.aborted || !holds()) return;
        const part = Array.from({ length: Math.min(SLOTS_AT_ONCE, slots.last - first + 1) }, (_, index) => first + index);
        await tell(target, part, 'IMPORTING', from.node);
        await tell(source, part, 'MIGRATING', to.node);
        // One after the other: an engine does all that one connection has sent before it looks at its clients again.
        for (const slot of part) if (!(await empty(source, slot, { address: to.address, breathe }))) return;
        // The new owner first: would it crash, nobody else says that it has the slot.
        await tell(target, part, 'NODE', to.node);
        await tell(source, part, 'NODE', to.node);
        await Promise.all(rest.map((one) => (one === undefined ? undefined : tell(one, part, 'NODE', to.node).catch(() => undefined))));
        await breathe();
      }
      failure = undefined;
    } catch (error) {
      failure = `slots from ${from.id} to ${to.id}: ${messageOf(error)}`;
    } finally {
      for (const session of open) session.close();
    }
  }

  const tell = async (session: EngineSession, part: readonly number[], how: string, node: string) => {
    await Promise.all(part.map((slot) => session.call('CLUSTER', 'SETSLOT', slot, how, node)));
  };

  /** @returns false when this member may not go on */
  async function empty(
    source: EngineSession,
    slot: number,
    { address, breathe }: { address: string; breathe(): Promise<void> },
  ): Promise<boolean> {
    for (;;) {
      if (stopping.signal.aborted || !holds()) return false;
      const keys = await source.call('CLUSTER', 'GETKEYSINSLOT', slot, KEYS_A_BATCH);
      if (!Array.isArray(keys) || keys.length === 0) return true;
      const account = ['AUTH2', AGENT_USER, password() ?? ''];
      await source.call('MIGRATE', address, CLUSTER_PORTS.engine, '', 0, MIGRATE_MS, 'REPLACE', ...account, 'KEYS', ...keys.map(String));
      await breathe();
    }
  }

  return {
    busy: () => running.size > 0,
    failure: () => failure,
    begin(move) {
      if (stopping.signal.aborted || running.has(move.from.id)) return;
      const done = work(move).finally(() => {
        running.delete(move.from.id);
        onEnd();
      });
      running.set(move.from.id, done);
    },
    async stop() {
      stopping.abort();
      await Promise.all(running.values());
    },
  };
}
