import type { Host } from '#pool/host.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { ENDPOINT, memberIds } from '#xdb/spec.ts';
import type { MasterUrl } from './url.ts';

/**
 * Pure: which database of ours a master-url means: by its name or a member's, as clients on its network know them, or by a published port of a host.
 *
 * @returns undefined for an outside server
 */
export function findOurs(
  { host, port }: Pick<MasterUrl, 'host' | 'port'>,
  specs: readonly DbSpec[],
  hosts: readonly Pick<Host, 'spec'>[],
): DbSpec | undefined {
  const living = specs.filter(({ destroyed }) => destroyed === undefined);
  const byName = living.find((spec) => spec.name === host || memberIds(spec).includes(host));
  if (byName !== undefined && (port === ENDPOINT.master || port === ENDPOINT.slave)) return byName;
  if (!hosts.some(({ spec }) => spec.address === host || spec.name === host)) return undefined;
  return living.find(({ publish }) => publish.some(({ hostPort }) => hostPort === port));
}
