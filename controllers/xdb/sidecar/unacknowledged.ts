/**
 * How many commits had been let go without an acknowledgement when semi-sync was switched on: only what comes after that is a lapse (H13). Counted anew for each
 * instance of the engine and each time it is switched on.
 */
export function createUnacknowledged() {
  let since: { instance: string; on: boolean; count: number } | undefined;
  return ({ instance, semiSyncMaster, unacknowledged }: { instance: string; semiSyncMaster: boolean; unacknowledged: number }): number => {
    if (since === undefined || since.instance !== instance || !semiSyncMaster || !since.on) {
      since = { instance, on: semiSyncMaster, count: unacknowledged };
    }
    return since.count;
  };
}
