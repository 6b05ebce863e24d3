import { sleep } from '#core/sleep.ts';
import type { Fault } from '../fault.ts';
import type { ServiceWorld } from '../world.ts';

/** From the healing of the second fault to that of the first, in milliseconds: time to do wrong in. */
const BETWEEN_MS = 3000;

/** Two faults at once, on the same members: the second comes when the first is there, and is healed before it. They last as long as the second does, and are bounded by the larger bounds. */
export function together(name: string, first: Fault, second: Fault): Fault {
  return {
    ...second,
    name,
    whole: Math.max(first.whole, second.whole),
    writable: first.writable.seconds > second.writable.seconds ? first.writable : second.writable,
    async inject(world: ServiceWorld, random) {
      const roles = await world.roles();
      const here = { ...world, roles: async () => roles };
      const wound = await first.inject(here, random);
      const heal = () => wound.heal();
      const other = await second.inject(here, random).catch(async (error: unknown) => {
        await heal();
        throw error;
      });
      return {
        what: `${wound.what}; ${other.what}`,
        async heal() {
          await other.heal();
          await sleep(BETWEEN_MS);
          await heal();
        },
      };
    },
  };
}
