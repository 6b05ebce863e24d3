import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { AppError } from '#core/errors.ts';

/**
 * Secrets in Consul's KV are sealed with the pool's key: AES-256-GCM, a random 96-bit nonce each (NIST SP 800-38D §8.2.2 allows 2^32 of them a key),
 * and the record's key as associated data, so that a sealed value that was moved to another record does not open.
 *
 * Form: `v1.<nonce>.<ciphertext and tag>`, base64url.
 */
const VERSION = 'v1';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A new pool key: 32 random bytes as hex, as it stands in `pool.key`. */
export function createPoolKey(): string {
  return randomBytes(32).toString('hex');
}

/** @throws AppError `invalid` when the text is not 32 bytes in hex */
export function parsePoolKey(text: string): Buffer {
  const trimmed = text.trim();
  if (!/^[0-9a-f]{64}$/i.test(trimmed)) {
    throw new AppError('invalid', 'the pool key is not 32 bytes in hex', {
      hint: 'bring pool.key back from another manager, where it is the same',
    });
  }
  return Buffer.from(trimmed, 'hex');
}

/**
 * @param key the pool's key, 32 bytes
 * @param recordKey the KV key the sealed value will stand in
 */
export function seal(key: Buffer, recordKey: string, secret: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(recordKey));
  const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${VERSION}.${nonce.toString('base64url')}.${body.toString('base64url')}`;
}

/** @throws AppError `invalid` when it was sealed with another key, for another record, or was changed */
export function open(key: Buffer, recordKey: string, sealed: string): string {
  const [version, nonceText, bodyText, ...rest] = sealed.split('.');
  if (version !== VERSION || nonceText === undefined || bodyText === undefined || rest.length > 0) {
    throw new AppError('invalid', `the secret in ${recordKey} is not in a form that this version knows`, {
      hint: 'it may have been written by a newer version: xcaas version',
    });
  }
  const nonce = Buffer.from(nonceText, 'base64url');
  const body = Buffer.from(bodyText, 'base64url');
  try {
    if (nonce.length !== NONCE_BYTES || body.length < TAG_BYTES) throw new Error('too short');
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(recordKey));
    decipher.setAuthTag(body.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(body.subarray(0, -TAG_BYTES)), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new AppError('invalid', `the secret in ${recordKey} cannot be opened with this host's pool key`, {
      hint: 'the record was changed, or pool.key is not the one it was sealed with: compare it with another manager’s',
      cause,
    });
  }
}
