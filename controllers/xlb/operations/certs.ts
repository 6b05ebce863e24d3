import { createPrivateKey, X509Certificate } from 'node:crypto';
import { AppError, messageOf } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { seal } from '#ground/seal.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { hostPattern } from '#xlb/schema.ts';
import { certsPrefix } from '#xlb/store.ts';

/**
 * Adds or replaces the certificate of a host. It reaches the members as a secret file and goes live without a reload.
 *
 * @param cert PEM, the certificate first, then its chain
 * @throws AppError `invalid` when it is no certificate, does not match its key or host, or has expired
 */
export async function addCert(
  deps: LbDeps,
  lb: string,
  request: { host: string; cert: string; key: string },
): Promise<{ notAfter: string }> {
  const host = validate(hostPattern, request.host.toLowerCase(), `the host ${JSON.stringify(request.host)}`);
  const notAfter = checkPair({ ...request, host }, deps.now());
  await deps.store.spec(lb);
  const key = certsPrefix(lb) + host;
  const sealed = seal(deps.poolKey, key, JSON.stringify({ cert: request.cert, key: request.key }));
  // The pair before the specification that counts it: a member that is told of the change finds it.
  await deps.store.certs.update(key, () => ({ v: 1, host, notAfter, sealed }));
  await deps.store.change(lb, (spec) => ({
    ...spec,
    certs: [...new Set([...spec.certs, host])].toSorted(),
    certsVersion: spec.certsVersion + 1,
  }));
  await deps.events.record({
    object: `lb/${lb}`,
    kind: 'info',
    reason: 'cert_added',
    sentence: `${host} has a certificate until ${notAfter}`,
  });
  deps.markDirty(lb);
  return { notAfter };
}

export async function removeCert(deps: LbDeps, lb: string, host: string): Promise<void> {
  const { value: spec } = await deps.store.spec(lb);
  if (!spec.certs.includes(host)) {
    throw new AppError('not_found', `${lb} has no certificate for ${host}`, { hint: `it has ${spec.certs.join(', ') || 'none'}` });
  }
  await deps.store.change(lb, (present) => ({
    ...present,
    certs: present.certs.filter((other) => other !== host),
    certsVersion: present.certsVersion + 1,
  }));
  await deps.store.consul.kv.delete(certsPrefix(lb) + host);
  await deps.events.record({
    object: `lb/${lb}`,
    kind: 'info',
    reason: 'cert_removed',
    sentence: `the certificate of ${host} is removed`,
  });
  deps.markDirty(lb);
}

/** @returns the end of its validity, RFC 3339 */
export function checkPair({ host, cert, key }: { host: string; cert: string; key: string }, now: Date): string {
  const certificate = read('certificate', () => new X509Certificate(cert));
  const privateKey = read('private key', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new AppError('invalid', `the private key does not belong to the certificate of ${certificate.subject.replaceAll('\n', ', ')}`, {
      hint: 'give the --key that the certificate was asked for with',
    });
  }
  // A wildcard is covered by a certificate that covers any one name under it.
  const probe = host.startsWith('*.') ? `x${host.slice(1)}` : host;
  if (certificate.checkHost(probe) === undefined) {
    throw new AppError(
      'invalid',
      `the certificate is not for ${host}, but for ${certificate.subjectAltName ?? certificate.subject.replaceAll('\n', ', ')}`,
      {
        hint: 'give one of those as --host',
      },
    );
  }
  const notAfter = new Date(certificate.validTo);
  if (notAfter <= now) throw new AppError('invalid', `the certificate of ${host} expired on ${notAfter.toISOString()}`);
  if (new Date(certificate.validFrom) > now) {
    throw new AppError('invalid', `the certificate of ${host} is not valid before ${new Date(certificate.validFrom).toISOString()}`);
  }
  return notAfter.toISOString();
}

function read<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new AppError('invalid', `the ${what} cannot be read: ${messageOf(cause)}`, {
      hint: 'it must be PEM, not protected by a password',
      cause,
    });
  }
}
