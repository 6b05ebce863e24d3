import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engineWeights } from '#tcp/weights.ts';

const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 50 });

describe('weights on the scale of HAProxy', () => {
  it('leaves them alone while they fit', () => {
    expect(engineWeights('round_robin', [100, 50, 256])).toEqual([100, 50, 256]);
    expect(engineWeights('least_conn', [])).toEqual([]);
  });

  it('divides by the common divisor before it rounds', () => {
    expect(engineWeights('round_robin', [1000, 500, 250])).toEqual([4, 2, 1]);
    expect(engineWeights('round_robin', [1000, 999])).toEqual([256, 256]);
  });

  it('never leaves 1 to 256 and never turns an order round', () => {
    fc.assert(
      fc.property(fc.constantFrom('round_robin' as const, 'least_conn' as const, 'hash' as const), weights, (algorithm, given) => {
        const scaled = engineWeights(algorithm, given);
        scaled.forEach((weight, a) => {
          expect(weight).toBeGreaterThanOrEqual(1);
          expect(weight).toBeLessThanOrEqual(256);
          given.forEach((other, b) => {
            if (given[a]! > other) expect(weight).toBeGreaterThanOrEqual(scaled[b]!);
          });
        });
      }),
    );
  });

  it('is off by less than one part in 256 of the largest', () => {
    fc.assert(
      fc.property(weights, (given) => {
        const scaled = engineWeights('round_robin', given);
        const largest = Math.max(...given);
        const top = Math.max(...scaled);
        given.forEach((weight, index) => {
          expect(Math.abs(scaled[index]! / top - weight / largest)).toBeLessThan(1 / 256 + 1e-9);
        });
      }),
    );
  });

  it('gives a peer of a hash ring the same weight whoever else is there', () => {
    fc.assert(
      fc.property(weights, (given) => {
        expect(engineWeights('hash', given)).toEqual(given.flatMap((weight) => engineWeights('hash', [weight])));
      }),
    );
  });
});
