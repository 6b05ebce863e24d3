import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { parseAddress } from '#ground/control-client.ts';
import { assertDistinct } from '#ground/host-record.ts';
import { decodeJoinToken, encodeJoinToken } from '#ground/join.ts';

const hex = (length: number) => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });

describe('a join token', () => {
  it('comes back as it was, and with the white space of a terminal around it', () => {
    const token = fc.record({
      v: fc.constant(1 as const),
      addresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { minLength: 1 }),
      ca: hex(64),
      id: hex(16),
      secret: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    });
    fc.assert(
      fc.property(token, (value) => {
        const text = encodeJoinToken(value);
        expect(decodeJoinToken(` ${text}\n`)).toEqual(value);
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
      }),
    );
  });

  it('is refused when it is anything else', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => decodeJoinToken(text)).toThrow('not a join token');
      }),
    );
  });
});

it('addresses are read with and without a port', () => {
  expect(parseAddress('10.0.0.1')).toEqual({ host: '10.0.0.1', port: 7402 });
  expect(parseAddress('10.0.0.1:99')).toEqual({ host: '10.0.0.1', port: 99 });
  expect(parseAddress('fd00::1', 5)).toEqual({ host: 'fd00::1', port: 5 });
  expect(parseAddress('[fd00::1]:99')).toEqual({ host: 'fd00::1', port: 99 });
  for (const text of ['', ':7402', 'a:b:c', '10.0.0.1:port']) expect(() => parseAddress(text)).toThrow('not an address');
});

it('a host that is there already is no conflict, another one of its name or address is', () => {
  const other = {
    v: 1 as const,
    id: 'a',
    name: 'one',
    address: '10.0.0.1',
    group: 'g',
    rack: 'r',
    labels: {},
    manager: true,
    drained: false,
  };
  assertDistinct({ id: 'a', name: 'one', address: '10.0.0.1' }, [other]);
  assertDistinct({ id: 'b', name: 'two', address: '10.0.0.2' }, [other]);
  for (const change of [{ name: 'one' }, { address: '10.0.0.1' }]) {
    let thrown: unknown;
    try {
      assertDistinct({ id: 'b', name: 'two', address: '10.0.0.2', ...change }, [other]);
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, 'conflict') && thrown.hint).toContain('xcaas node remove one');
  }
});
