import { AppError } from '#core/errors.ts';
import type { Role } from '#ground/ca.ts';

/** What an agent may ask of another one: nothing that changes anything. */
const AGENT_MAY = [/^\/v1\/host$/, /^\/v1\/images$/, /^\/v1\/images\/sha256:[0-9a-f]{64}\/tar$/, /^\/v1\/probe$/];

/** @throws AppError `forbidden` naming what is missing */
export function authorize(role: Role, method: string, path: string): void {
  if (role === 'control') return;
  if (method === 'GET' && AGENT_MAY.some((pattern) => pattern.test(path))) return;
  throw new AppError('forbidden', `a certificate with OU=${role} may not ${method} ${path}; only OU=control may`);
}
