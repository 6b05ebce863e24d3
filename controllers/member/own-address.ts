import { lookup } from 'node:dns/promises';
import { hostname, networkInterfaces } from 'node:os';

/**
 * This member's address on the database's network: what the engine wrote down for the container's own name. Interfaces alone do not tell it, since a container on an
 * overlay network has a second one to its host.
 *
 * @returns undefined while it has none
 */
export async function ownAddress(): Promise<string | undefined> {
  const found = await lookup(hostname(), { family: 4 }).catch(() => undefined);
  if (found !== undefined && !found.address.startsWith('127.')) return found.address;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}
