import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';

/** What a bearer of a token may do; each role includes those before it. */
export const TOKEN_ROLES = ['read', 'operate', 'admin'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

/** `xcaas/tokens/<id>` */
export const TokenRecord = z.object({
  v: z.literal(1),
  id: z.string(),
  name: z.string().min(1).max(128),
  role: z.enum(TOKEN_ROLES),
  /** SHA-256, hex, of the secret part. */
  hash: z.string(),
  created: z.string(),
  /** Null = never. */
  expires: z.string().nullable(),
});
export type TokenRecord = z.infer<typeof TokenRecord>;

/** What may be shown of a token. */
export type TokenInfo = Omit<TokenRecord, 'hash' | 'v'>;

const PREFIX = 'xcaas/tokens/';
const FORM = /^xc_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

export interface NewToken {
  name: string;
  role: TokenRole;
  /** Seconds it is good for; for ever when not given. */
  ttl?: number;
}

/**
 * A new API token, `xc_<id>_<secret>`. It is shown this once: the record holds only a hash.
 *
 * A plain SHA-256 is right here: slow hashes protect secrets that people choose, and these are 32 random bytes, which nobody finds by trying
 * however fast the hash is, while each request has to compute it.
 */
export async function createToken(
  consul: ConsulClient,
  { name, role, ttl }: NewToken,
  now = new Date(),
): Promise<{ token: string; info: TokenInfo }> {
  const id = randomBytes(8).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const record = validate(
    TokenRecord,
    {
      v: 1,
      id,
      name,
      role,
      hash: hash(secret),
      created: now.toISOString(),
      expires: ttl === undefined ? null : new Date(now.getTime() + ttl * 1000).toISOString(),
    },
    'the token',
  );
  if (!(await consul.kv.cas(PREFIX + id, JSON.stringify(record), 0))) {
    throw new AppError('cas_lost', 'a token of this id exists already', { hint: 'repeat the command' });
  }
  return { token: `xc_${id}_${secret}`, info: infoOf(record) };
}

/**
 * @returns whose token it is, or undefined for one that is unknown, wrong, revoked or expired: the caller is not told which
 */
export async function verifyToken(consul: ConsulClient, token: string, now = new Date()): Promise<TokenInfo | undefined> {
  const [, id, secret] = FORM.exec(token) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  const entry = await consul.kv.get(PREFIX + id);
  const record = entry === undefined ? undefined : parse(entry.value);
  if (record === undefined) return undefined;
  if (!timingSafeEqual(Buffer.from(hash(secret), 'hex'), Buffer.from(record.hash, 'hex'))) return undefined;
  if (record.expires !== null && Date.parse(record.expires) <= now.getTime()) return undefined;
  return infoOf(record);
}

/** True when a bearer of `role` may do what needs `needed`. */
export function allows(role: TokenRole, needed: TokenRole): boolean {
  return TOKEN_ROLES.indexOf(role) >= TOKEN_ROLES.indexOf(needed);
}

/**
 * @param which id or name
 * @throws AppError `not_found`, or `ambiguous` when several tokens have that name
 */
export async function revokeToken(consul: ConsulClient, which: string): Promise<TokenInfo> {
  const all = await listTokens(consul);
  const byId = all.filter(({ id }) => id === which);
  const found = byId.length > 0 ? byId : all.filter(({ name }) => name === which);
  const [token] = found;
  if (token === undefined) throw new AppError('not_found', `there is no token ${which}`, { hint: 'see them all: xcaas token list' });
  if (found.length > 1) {
    throw new AppError('ambiguous', `${found.length} tokens are called ${which}: ${found.map(({ id }) => id).join(', ')}`, {
      hint: 'say which one by its id: xcaas token revoke ID',
    });
  }
  await consul.kv.delete(PREFIX + token.id);
  return token;
}

/** Oldest first; expired ones too, until they are revoked. */
export async function listTokens(consul: ConsulClient): Promise<TokenInfo[]> {
  const entries = await consul.kv.list(PREFIX, { consistent: true });
  const records = entries.map(({ value }) => parse(value)).filter((record) => record !== undefined);
  return records.map(infoOf).sort((a, b) => (a.created < b.created ? -1 : 1));
}

/** A record that cannot be read gives nobody access, and must not lock out all others. */
function parse(text: string): TokenRecord | undefined {
  try {
    const record = TokenRecord.safeParse(JSON.parse(text));
    return record.success && /^[0-9a-f]{64}$/.test(record.data.hash) ? record.data : undefined;
  } catch {
    return undefined;
  }
}

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function infoOf({ id, name, role, created, expires }: TokenRecord): TokenInfo {
  return { id, name, role, created, expires };
}
