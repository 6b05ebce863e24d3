import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareGtid, containsGtid, formatGtid, newestGtid, parseGtid } from './gtid.ts';

const gtid = fc
  .uniqueArray(
    fc.record({ domain: fc.integer({ min: 0, max: 3 }), server: fc.integer({ min: 1, max: 3 }), seq: fc.bigInt({ min: 1n, max: 6n }) }),
    {
      selector: ({ domain }) => domain,
      maxLength: 3,
    },
  )
  .map((parts) => formatGtid(new Map(parts.map((part) => [part.domain, part]))));

describe('a position of MariaDB', () => {
  it('is read and written', () => {
    expect(formatGtid(parseGtid('0-1-42'))).toBe('0-1-42');
    expect(formatGtid(parseGtid(''))).toBe('');
    expect(formatGtid(parseGtid('7-3-1, 0-1-42'))).toBe('0-1-42,7-3-1');
    expect(parseGtid('0-4294967295-18446744073709551615').get(0)?.seq).toBe(18446744073709551615n);
  });

  it('takes the last of several servers of a domain', () => {
    expect(formatGtid(parseGtid('0-1-19,0-3-22,0-2-20'))).toBe('0-3-22');
  });

  it.each(['0-1', '0-1-', 'x', '0-1-2-3', '0-1-42;', '-1-1-1'])('refuses %s', (text) => {
    expect(() => parseGtid(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  it('is compared beyond what a double holds', () => {
    expect(compareGtid('0-1-9007199254740993', '0-1-9007199254740992')).toBe(1);
  });

  it('knows that the same number by another server is another transaction', () => {
    expect(compareGtid('0-1-20', '0-2-20')).toBeUndefined();
    expect(compareGtid('0-2-21', '0-1-20')).toBe(1);
    expect(containsGtid('0-1-20', '0-2-20')).toBe(false);
  });

  it('has no order where each has what the other lacks', () => {
    expect(compareGtid('0-1-5,1-1-1', '0-1-4,1-1-2')).toBeUndefined();
    expect(compareGtid('0-1-5', '')).toBe(1);
    expect(compareGtid('', '')).toBe(0);
  });

  it('is ordered the other way round when the sides are changed', () => {
    fc.assert(
      fc.property(gtid, gtid, (a, b) => {
        const forth = compareGtid(a, b);
        expect(compareGtid(b, a)).toBe(forth === undefined || forth === 0 ? forth : -forth);
      }),
    );
  });

  it('is contained in the newest of itself and another, unless both name one number differently', () => {
    fc.assert(
      fc.property(gtid, gtid, (a, b) => {
        const newest = newestGtid(a, b);
        expect(containsGtid(newest, a)).toBe(true);
        const clash = [...parseGtid(b).values()].some(({ domain, server, seq }) => {
          const other = parseGtid(a).get(domain);
          return other?.seq === seq && other.server !== server;
        });
        expect(containsGtid(newest, b)).toBe(!clash);
      }),
    );
  });
});
