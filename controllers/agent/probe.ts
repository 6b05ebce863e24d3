import { connect, isIP } from 'node:net';
import { z } from 'zod';
import { AppError, messageOf } from '#core/errors.ts';

/** `GET /v1/probe?address=IP:PORT[&timeoutMs=N]`, and the same with `host=` on the members' socket. */
export const ProbeQuery = z.object({
  address: z.string(),
  /** Id or name of the host that is to probe; this one when not given. */
  host: z.string().optional(),
  timeoutMs: z.coerce.number().int().min(50).max(10_000).default(1000),
});
export type ProbeQuery = z.infer<typeof ProbeQuery>;

export const ProbeAnswer = z.object({
  reachable: z.boolean(),
  /** Milliseconds until the answer, whatever it was. */
  ms: z.number(),
  error: z.string().optional(),
});
export type ProbeAnswer = z.infer<typeof ProbeAnswer>;

/** @throws AppError `invalid` unless it is an IP address and a port; names are not resolved */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (isIP(host) === 0 || port < 1 || port > 65535) throw new AppError('invalid', `"${text}" is not IP:PORT`);
  return { host, port };
}

/** Whether a TCP connection can be made from this host's own network. Addresses of an overlay network cannot be reached from there. */
export function probeTcp(address: string, timeoutMs: number): Promise<ProbeAnswer> {
  const target = parseAddress(address);
  const began = performance.now();
  return new Promise((resolve) => {
    const socket = connect(target);
    const finish = (reachable: boolean, error?: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ reachable, ms: Math.round(performance.now() - began), ...(error === undefined ? {} : { error }) });
    };
    const timer = setTimeout(() => finish(false, `no connection within ${timeoutMs} ms`), timeoutMs);
    socket.once('connect', () => finish(true));
    socket.once('error', (error) => finish(false, messageOf(error)));
  });
}
