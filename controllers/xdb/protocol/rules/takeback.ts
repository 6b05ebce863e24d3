import { changed, isMine, mine, type Situation, seconds, wait } from '#xdb/protocol/situation.ts';
import type { Step } from '#xdb/protocol/types.ts';

/** T: the leader before, which is complete as well, leads again when its successor does not come to an end. The successor is complete, so it is the sync slave. */
export function takeBack(s: Situation): Step | undefined {
  const { sync, local, me, budgets, records, guards } = s;
  if (sync.state !== 'promoting' || sync.leader.id === me || !isMine(sync.prev, local)) return undefined;
  if (!guards.keepWhilePromoting && local.engine.state === 'down') return undefined;
  const promoter = sync.leader.id;
  const patience = records.present.includes(promoter) ? 6 * budgets.takeBackMs : budgets.takeBackMs;
  if (local.promotingAgeMs < patience) {
    return wait(
      'T',
      `${promoter} is taking over from ${me}: ${me} waits ${seconds(patience - local.promotingAgeMs)} more before it leads again`,
    );
  }
  return {
    rule: 'T',
    do: 'write',
    reason: `${promoter} did not finish taking over in ${seconds(local.promotingAgeMs)}: ${me}, which has everything, leads again`,
    write: changed(s, { leader: mine(s), sync: sync.leader, prev: null, cand: null, state: 'open', epoch: sync.epoch + 1 }),
  };
}
