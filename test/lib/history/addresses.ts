import { lookup } from 'node:dns/promises';
import { AppError, messageOf } from '#core/errors.ts';

export interface Address {
  host: string;
  port: number;
}

/** Where a service is, as its clients are told. */
export interface Reachable {
  /** Names are resolved anew for each connection, and each address is tried. */
  hosts: Address[];
  /** For one address. */
  connectMs: number;
}

/**
 * Opens a connection to the first address that takes one.
 *
 * @param turn which address is asked first; those after it follow
 * @throws AppError `unavailable` with what each address said
 */
export async function connectToAny<S>(where: Reachable, turn: number, open: (address: Address) => Promise<S>): Promise<S> {
  const addresses = await resolve(where);
  const failures: string[] = [];
  for (let i = 0; i < addresses.length; i++) {
    const address = addresses[(turn + i) % addresses.length]!;
    try {
      return await open(address);
    } catch (error) {
      failures.push(`${address.host}:${address.port}: ${messageOf(error)}`);
    }
  }
  throw new AppError('unavailable', failures.join('; ') || 'no address');
}

async function resolve({ hosts, connectMs }: Reachable): Promise<Address[]> {
  const found = await Promise.allSettled(
    hosts.map(async ({ host, port }) => {
      const answers = await within(lookup(host, { all: true, family: 4 }), connectMs, `resolving ${host}`);
      return answers.map(({ address }) => ({ host: address, port }));
    }),
  );
  const addresses = found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  if (addresses.length > 0) return addresses;
  throw new AppError('unavailable', found.map((result) => (result.status === 'rejected' ? messageOf(result.reason) : '')).join('; '));
}

/** @throws Error when it takes longer */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
