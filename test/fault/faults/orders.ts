import { messageOf } from '#core/errors.ts';
import type { Random } from '#test/random.ts';
import type { Fault, Wound } from '../fault.ts';
import type { ServiceWorld } from '../world.ts';

/** Orders that people give. */

export function planned(expect: string): Fault {
  return {
    ...{ name: 'switchover', expect, lasts: [2, 5], weight: 6, whole: 120, writable: { from: 'fault', seconds: 30 } },
    async inject(world) {
      const { follower } = await world.roles();
      const outcome = await world.switchover();
      return {
        what: `to ${follower.id}: ${outcome}`,
        async heal() {
          if (outcome.startsWith('refused')) throw new Error(`a switchover of a whole pair was ${outcome}`);
        },
      };
    },
  };
}

/** Another fault within the second that a switchover takes. */
export function duringSwitchover<W extends ServiceWorld, F extends Fault<W>>(fault: F): F {
  return {
    ...fault,
    name: `switchover, and in the middle of it: ${fault.name}`,
    expect: `the switchover (roles below are those before it) is done or undone as a whole; then as without it: ${fault.expect}`,
    writable: { ...fault.writable, seconds: fault.writable.seconds + 30 },
    weight: 2,
    async inject(world: W, random: Random) {
      // Who is hurt is chosen before: in the middle nobody is master and follower.
      const roles = await world.roles();
      const asked = world.switchover();
      await new Promise((resolve) => setTimeout(resolve, random.between(200, 2500)));
      const wound = await fault.inject({ ...world, roles: async () => roles }, random).catch(
        (error: unknown): Wound => ({
          what: `nothing: ${messageOf(error)}`,
          heal: async () => undefined,
        }),
      );
      return {
        ...wound,
        what: `${wound.what}; the switchover: ${await Promise.race([asked, new Promise<string>((resolve) => setTimeout(resolve, 3000, 'under way'))])}`,
        async heal() {
          await wound.heal();
          await asked;
        },
      };
    },
  };
}
