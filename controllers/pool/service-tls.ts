import type { Records, Stored } from '#core/consul/records.ts';
import { issuePair, type KeyPair, needsRenewal } from '#ground/ca.ts';
import { open, seal } from '#ground/seal.ts';
import type { Host } from '#pool/host.ts';
import type { TlsRecord } from '#pool/service-schema.ts';

/** Certificates of members: made by the controller with the pool's CA, kept sealed, so that a member is not given another one at every turn. */

export interface TlsDeps {
  store: { tls: Pick<Records<TlsRecord>, 'get' | 'update'> };
  poolKey: Buffer;
  ca: KeyPair;
  now(): Date;
}

/** Days; a third of it before the end it is renewed. */
const MEMBER_DAYS = 90;

/** What a member's certificate is good for: its name, the service's, and the addresses of its host where ports are published. */
export function namesOf(spec: { name: string; publish: readonly unknown[] }, member: string, host: Host | undefined): string[] {
  const published = spec.publish.length > 0 && host !== undefined ? [host.spec.address, host.spec.name] : [];
  return [...new Set([member, spec.name, ...published])];
}

/**
 * The certificate that is kept, if it is still good.
 *
 * @returns undefined when there is none, it is for other names, was made by another CA, or a third of its life is left
 */
export function goodPair(
  { poolKey, ca, now }: Omit<TlsDeps, 'store'>,
  { recordKey, names }: { recordKey: string; names: readonly string[] },
  record: Stored<TlsRecord> | undefined,
): KeyPair | undefined {
  if (record === undefined || JSON.stringify(record.value.names) !== JSON.stringify(names)) return undefined;
  const { ca: issuer, cert, key } = JSON.parse(open(poolKey, recordKey, record.value.sealed)) as KeyPair & { ca: string };
  return issuer === ca.cert && !needsRenewal(cert, now()) ? { cert, key } : undefined;
}

/** The certificate that is kept, or a new one in its place. */
export async function ensurePair(
  deps: TlsDeps,
  { recordKey, member, names }: { recordKey: string; member: string; names: readonly string[] },
): Promise<KeyPair> {
  const present = await deps.store.tls.get(recordKey, { consistent: true });
  const good = goodPair(deps, { recordKey, names }, present);
  if (good !== undefined) return good;
  const isAddress = (name: string) => /^[\d.]+$|:/.test(name);
  const pair = await issuePair({
    ca: deps.ca,
    cn: member,
    role: 'member',
    addresses: names.filter(isAddress),
    dnsNames: names.filter((name) => !isAddress(name)),
    days: MEMBER_DAYS,
    now: deps.now(),
  });
  const notAfter = new Date(deps.now().getTime() + MEMBER_DAYS * 86_400_000).toISOString();
  const sealed = seal(deps.poolKey, recordKey, JSON.stringify({ ca: deps.ca.cert, ...pair }));
  await deps.store.tls.update(recordKey, () => ({ v: 1, notAfter, names: [...names], sealed }));
  return pair;
}
