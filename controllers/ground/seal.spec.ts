import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { createPoolKey, open, parsePoolKey, seal } from '#ground/seal.ts';

const key = parsePoolKey(createPoolKey());
const invalid = (error: unknown) => hasCode(error, 'invalid');
const failure = (action: () => unknown) => {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
};

it('opens what it sealed, and never seals alike', () => {
  fc.assert(
    fc.property(fc.string(), fc.string({ unit: 'binary' }), (record, secret) => {
      const sealed = seal(key, record, secret);
      // Lone surrogates are no text: they come back as U+FFFD, as from any UTF-8.
      expect(open(key, record, sealed)).toBe(Buffer.from(secret).toString());
      expect(seal(key, record, secret)).not.toBe(sealed);
    }),
  );
});

it('opens nothing that was changed, moved to another record or sealed with another key', () => {
  const sealed = seal(key, 'xcaas/a', 'secret');
  expect(failure(() => open(key, 'xcaas/b', sealed))).toSatisfy(invalid);
  expect(failure(() => open(parsePoolKey(createPoolKey()), 'xcaas/a', sealed))).toSatisfy(invalid);
  const [version, nonce, body] = sealed.split('.') as [string, string, string];
  fc.assert(
    fc.property(fc.nat(Buffer.from(body, 'base64url').length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(body, 'base64url');
      bytes[at] = bytes[at]! ^ flip;
      expect(failure(() => open(key, 'xcaas/a', `${version}.${nonce}.${bytes.toString('base64url')}`))).toSatisfy(invalid);
    }),
  );
});

it('says so when it is given anything else', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(failure(() => open(key, 'k', text))).toSatisfy(invalid);
    }),
  );
  for (const text of ['', 'v1..', 'v2.a.b', 'v1.AAAA.AAAA', 'v1.a.b.c']) expect(failure(() => open(key, 'k', text))).toSatisfy(invalid);
  expect(failure(() => parsePoolKey('abc'))).toSatisfy(invalid);
});
