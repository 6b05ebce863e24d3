import { sleep } from '#core/sleep.ts';
import { check, describeVerdict } from '#test/cache-history/check.ts';
import { type CacheState, readState } from '#test/cache-history/state.ts';
import type { Gap } from '#test/history/writable.ts';
import type { CacheFault } from './cache-fault.ts';
import type { CacheWorld } from './cache-world.ts';
import type { Clients } from './clients.ts';
import type { Leads } from './leads.ts';
import type { Judge } from './runner.ts';

/** From the healing until the engine of what slept has ended. */
const WAKING_MS = 1500;

export function createCacheJudge({
  world,
  clients,
  leads,
}: {
  world: CacheWorld;
  clients: Clients;
  leads?: Leads | undefined;
}): Judge<CacheFault> {
  const mayLose: Gap[] = [];
  const waking: Gap[] = [];
  /** The first round that is read number by number. */
  let since = 0;
  let verified: CacheState['rounds'] = [];

  /** The masters and their replicas; the clients are at rest, and what was written is on its way for a moment yet. */
  async function readAll(from: number): Promise<CacheState[]> {
    const copies = await world.copies();
    for (let tries = 0; ; tries++) {
      const states = await Promise.all(
        copies.map((members) =>
          readState(
            members.map((member) => ({ id: member.id, command: world.command(member) })),
            from,
          ),
        ),
      );
      if (tries === 5 || states.every(({ digest }) => digest === states[0]!.digest)) return states;
      await sleep(500);
    }
  }

  return {
    hurt({ fault: { loses }, from, injectedAt, healedAt }) {
      if (loses === 'nothing') return;
      mayLose.push({ from: from - loses.beforeMs, to: injectedAt + loses.afterMs });
      const wake = { from: healedAt, to: healedAt + WAKING_MS };
      if (loses.atWake) mayLose.push(wake);
      if (loses.frozenWhole) waking.push(wake);
    },
    async check(scope) {
      const from = scope === 'window' ? since : 0;
      const states = await readAll(from);
      const attempts = (scope === 'window' ? clients.attempts() : clients.everything()).filter(({ round }) => round >= from);
      const verdict = check({
        attempts,
        states,
        verified: scope === 'window' ? verified : [],
        leads: leads?.seen(),
        mayLose,
        waking,
      });
      return { ...verdict, sentence: describeVerdict(verdict) };
    },
    async nextWindow(round) {
      since = round;
      verified = (await readAll(round))[0]!.rounds;
    },
  };
}
