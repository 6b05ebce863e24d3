import { readFile } from 'node:fs/promises';
import { AppError } from '#core/errors.ts';
import { AGENT_USER, type SessionOptions } from '#xcache/engine/session.ts';
import type { Common } from './common.ts';

/** How this sidecar gets in at an engine of its cache. @throws AppError `unavailable` while the credentials are not known */
export async function engineAccess(
  { deps: { config }, credentials }: Pick<Common, 'deps' | 'credentials'>,
  at: SessionOptions['at'],
): Promise<Omit<SessionOptions, 'timeoutMs'>> {
  const password = credentials.current()?.agent;
  if (password === undefined) throw new AppError('unavailable', 'the credentials of this cache are not known yet');
  // Every member's certificate is for the cache's name as well.
  const tls = config.tls && 'host' in at ? { ca: await readFile(config.paths.tls.ca, 'utf8'), servername: config.cache } : undefined;
  return { at, user: AGENT_USER, password, tls };
}
