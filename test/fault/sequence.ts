import type { Random } from '#test/random.ts';

/**
 * Chooses what is done to a service: each fault once in any order first, then by weight. The same seed gives the same list.
 *
 * @param count how many
 */
export function faultSequence<F extends { weight: number }>(faults: readonly F[], count: number, random: Random): F[] {
  const chosen: F[] = random.shuffled(faults).slice(0, count);
  const total = faults.reduce((sum, { weight }) => sum + weight, 0);
  while (chosen.length < count) {
    let left = random.next() * total;
    const fault = faults.find(({ weight }) => {
      left -= weight;
      return left < 0;
    });
    chosen.push(fault ?? faults.at(-1)!);
  }
  return chosen;
}
