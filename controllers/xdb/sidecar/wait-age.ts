/**
 * How long a commit has waited for its acknowledgement while none arrived, by a clock that only goes forward. An acknowledgement of anybody's starts the
 * count again: a slave that is slow is not one that is stuck.
 */
export function createWaitAge(now: () => number = () => performance.now()) {
  let stuck: { instance: string; acknowledged: number; since: number } | undefined;
  return (facts: { instance: string; waiters: number; acknowledged: number }): number => {
    if (facts.waiters === 0) {
      stuck = undefined;
      return 0;
    }
    if (stuck === undefined || stuck.instance !== facts.instance || stuck.acknowledged !== facts.acknowledged) {
      stuck = { instance: facts.instance, acknowledged: facts.acknowledged, since: now() };
    }
    return now() - stuck.since;
  };
}
