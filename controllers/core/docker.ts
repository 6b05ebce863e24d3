import Dockerode from 'dockerode';
import { isRecord } from '#core/http.ts';

export type Docker = Dockerode;

/** @param socketPath the engine's socket. Calls have no deadline of their own: events and logs are followed for as long as they last. */
export function createDocker({ socketPath = '/var/run/docker.sock' }: { socketPath?: string } = {}): Docker {
  return new Dockerode({ socketPath });
}

export function dockerStatus(error: unknown): number | undefined {
  return isRecord(error) && typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

export function isNotFound(error: unknown): boolean {
  return dockerStatus(error) === 404;
}

/** The engine's own sentence of an error, without dockerode's prefix. */
export function dockerMessage(error: unknown): string {
  if (error instanceof Error && isRecord((error as { json?: unknown }).json)) {
    const { message } = (error as unknown as { json: Record<string, unknown> }).json;
    if (typeof message === 'string') return message;
  }
  return error instanceof Error ? error.message : String(error);
}
