import type { TLSSocket } from 'node:tls';
import { AppError } from '#core/errors.ts';

export type PeerRole = 'control' | 'agent';

/**
 * The role that the caller's certificate names; that the pool's CA signed it, TLS has already seen to.
 *
 * @throws AppError `forbidden` for any other certificate
 */
export function peerRole(socket: TLSSocket): PeerRole {
  const subject = socket.getPeerCertificate()?.subject;
  const unit = subject?.OU as unknown;
  if (unit === 'control' || unit === 'agent') return unit;
  throw new AppError('forbidden', `the certificate of ${subject?.CN ?? 'the caller'} has no role in this pool (OU=${String(unit)})`);
}

/** What an agent may ask of another one: nothing that changes anything. */
const AGENT_MAY = [/^\/v1\/host$/, /^\/v1\/images$/, /^\/v1\/images\/sha256:[0-9a-f]{64}\/tar$/, /^\/v1\/probe$/];

/** @throws AppError `forbidden` naming what is missing */
export function authorize(role: PeerRole, method: string, path: string): void {
  if (role === 'control') return;
  if (method === 'GET' && AGENT_MAY.some((pattern) => pattern.test(path))) return;
  throw new AppError('forbidden', `a certificate with OU=${role} may not ${method} ${path}; only OU=control may`);
}
