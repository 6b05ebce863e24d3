import type { Readable } from 'node:stream';
import { z } from 'zod';
import { createBackoff } from '#core/backoff.ts';
import { type Docker, dockerMessage } from '#core/docker.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';

const EngineEvent = z.object({
  Type: z.string(),
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()).default({}) }),
  timeNano: z.number().optional(),
});

export interface ContainerEvent {
  /** `start`, `die`, `kill`, `connect`, `health_status`, … */
  action: string;
  /** The container's full id. */
  container: string;
  /** Number of the signal of a `kill`. */
  signal: number | undefined;
  /** Milliseconds since the epoch, by the engine's clock. */
  at: number | undefined;
}

const EVENTS = ['start', 'die', 'kill', 'pause', 'unpause', 'rename', 'destroy', 'health_status', 'connect', 'disconnect'];

/**
 * Follows the engine's events until `signal` aborts. The stream is opened again when it breaks; `onConnect` is called each time it is open, since what
 * happened in between was missed.
 */
export async function followEvents({
  docker,
  log,
  signal,
  onEvent,
  onConnect,
}: {
  docker: Docker;
  log: Logger;
  signal: AbortSignal;
  onEvent(event: ContainerEvent): void;
  onConnect(): void;
}): Promise<void> {
  const backoff = createBackoff(100, 5000);
  while (!signal.aborted) {
    try {
      const stream = (await docker.getEvents({
        filters: { type: ['container', 'network'], event: EVENTS },
      })) as unknown as Readable;
      const stop = () => stream.destroy();
      signal.addEventListener('abort', stop, { once: true });
      try {
        if (signal.aborted) return;
        onConnect();
        backoff.reset();
        let rest = '';
        stream.setEncoding('utf8');
        for await (const chunk of stream) {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) {
            const event = parseEvent(line);
            if (event !== undefined) onEvent(event);
          }
        }
      } finally {
        signal.removeEventListener('abort', stop);
        stream.destroy();
      }
    } catch (error) {
      if (!signal.aborted) log.debug({ err: dockerMessage(error) }, "the stream of the engine's events broke");
    }
    await sleep(backoff.next(), signal);
  }
}

export function parseEvent(line: string): ContainerEvent | undefined {
  if (line.trim() === '') return undefined;
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  const parsed = EngineEvent.safeParse(json);
  if (!parsed.success) return undefined;
  const { Type, Action, Actor, timeNano } = parsed.data;
  const container = Type === 'network' ? Actor.Attributes.container : Actor.ID;
  if (container === undefined) return undefined;
  const signal = Number(Actor.Attributes.signal);
  return {
    // `health_status: healthy`
    action: Action.split(':')[0]!,
    container,
    signal: Number.isInteger(signal) ? signal : undefined,
    at: timeNano === undefined ? undefined : timeNano / 1e6,
  };
}
