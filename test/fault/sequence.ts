import type { Random } from '#test/random.ts';
import type { Fault } from './fault.ts';

/**
 * Chooses what is done to the database: each fault once in any order first, then by weight. The same seed gives the same list.
 *
 * @param count how many
 */
export function faultSequence(faults: readonly Fault[], count: number, random: Random): Fault[] {
  const chosen: Fault[] = random.shuffled(faults).slice(0, count);
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
