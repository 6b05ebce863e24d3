import { createBell } from '#core/bell.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { within } from '#member/within.ts';
import type { Engine } from '#xdb/engine/engine.ts';

/** What an engine is to run with. */
export interface WantedParameters {
  instance: string;
  parameters: Readonly<Record<string, string>>;
  memoryBytes: number;
}

/**
 * Brings the engine of this member to the parameters of the specification, master or slave, beside the protocol's flow: nothing that can be set touches replication or
 * what an acknowledgement means.
 */
export interface ParametersKeeper {
  /** Undefined while no engine is to be spoken to. */
  set(wanted: WantedParameters | undefined): void;
  /** Those that the engine takes with its next start only. */
  pendingRestart(): readonly string[];
  stop(): Promise<void>;
}

const LIMIT_MS = 5000;
const REST_MS = 3_600_000;

export interface ParametersOptions {
  engine: Pick<Engine, 'connect'>;
  log: Logger;
  /** What waits for a start has changed. */
  onChange(): void;
  retryMs?: number;
}

export function keepParameters({ engine, log, onChange, retryMs = 2000 }: ParametersOptions): ParametersKeeper {
  const stopping = new AbortController();
  let wanted: WantedParameters | undefined;
  let done: string | undefined;
  let pending: { instance: string; names: readonly string[] } | undefined;
  const bell = createBell(stopping.signal);
  let complaint = '';

  async function apply({ instance, parameters, memoryBytes }: WantedParameters): Promise<boolean> {
    const session = await within(engine.connect({ timeoutMs: 1000 }), 1500, 'a connection for parameters', (late) => late.close());
    try {
      if (session.instance !== instance) return false;
      const { pendingRestart, changed } = await within(session.applyParameters(parameters, memoryBytes), LIMIT_MS, 'setting parameters');
      if (changed.length > 0) log.info({ changed }, 'parameters are in force');
      if (pendingRestart.length > 0) log.info({ pendingRestart }, 'parameters wait for the next start of the engine');
      const before = pending?.names.join() ?? '';
      pending = { instance, names: pendingRestart };
      if (before !== pendingRestart.join()) onChange();
      return true;
    } finally {
      session.close();
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      const now = wanted;
      const mark = now === undefined ? undefined : JSON.stringify(now);
      let pause = REST_MS;
      if (now !== undefined && mark !== done) {
        try {
          if (await apply(now)) done = mark;
          complaint = '';
        } catch (error) {
          const text = messageOf(error);
          if (text !== complaint) log.warn({ err: text }, 'the parameters could not be set');
          complaint = text;
        }
        if (mark !== done) pause = retryMs;
      }
      await bell.wait(pause);
    }
  })();

  return {
    set(next) {
      const changed = JSON.stringify(next) !== JSON.stringify(wanted);
      wanted = next;
      if (changed) bell.ring();
    },
    pendingRestart: () => (wanted !== undefined && pending?.instance === wanted.instance ? pending.names : []),
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
