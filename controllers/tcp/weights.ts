import type { TcpBackend } from '#tcp/schema.ts';

/** HAProxy's largest weight (configuration manual, `weight`). */
const MAX_WEIGHT = 256;
/** A hash ring gets 16 points for each unit of weight: 16 units for our default of 100 make 256 points, a deviation of about 6 %. */
const HASH_UNITS_PER_100 = 16;

/**
 * Weights of 1 to 1000 on HAProxy's scale of 1 to 256, in the order given.
 *
 * For round robin and least connections they are taken as they are while all fit; else they are divided by their common divisor and, if that is
 * not enough, scaled so that the largest becomes 256: a share is then off by less than 1 part in 256 of the largest. For `hash` each weight maps
 * for itself, because a peer's place on the ring must not depend on the others.
 */
export function engineWeights(algorithm: TcpBackend['algorithm'], weights: readonly number[]): number[] {
  if (algorithm === 'hash') return weights.map((weight) => Math.max(1, Math.round((weight * HASH_UNITS_PER_100) / 100)));
  const largest = Math.max(1, ...weights);
  if (largest <= MAX_WEIGHT) return [...weights];
  const divisor = weights.reduce(greatestCommonDivisor);
  if (largest / divisor <= MAX_WEIGHT) return weights.map((weight) => weight / divisor);
  return weights.map((weight) => Math.max(1, Math.round((weight * MAX_WEIGHT) / largest)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
