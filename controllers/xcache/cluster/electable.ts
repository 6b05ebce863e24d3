/** What an engine of a cluster has of its master's data. */
export interface CopyWorld {
  engine: { run: string; linkUp: boolean; empty: boolean; loading: boolean };
  /** Whom it follows, if it does. */
  master: string | undefined;
  /** Since gossip holds its master for dead, in milliseconds; undefined while it does not. */
  masterFailedMs: number | undefined;
}

/** A master that has not come back by then, with nobody to take over: its data are lost, and its slots are to be served again. */
const GIVEN_UP_MS = 20_000;

/**
 * Whether an engine may be elected in its master's place. A replica that has not got its first copy yet has nothing, and the engines would elect it all the same: a master that was only
 * silent for two seconds would come back as its replica, and lose everything. The masters of a cluster that begins with a backup know one another's names before their addresses, so some are
 * held for dead until they have met, and for four seconds more, while they copy to their replicas: until gossip has thought better of it, such a copy is no reason either.
 *
 * A master is asked as well: one without slots and keys is about to follow, and must not be electable in the moment after.
 *
 * @returns a function to ask in each turn; it remembers which copies were whole, and which engines began with something
 */
export function createElectable(): (world: CopyWorld) => boolean {
  let whole = '';
  let began: { run: string; withData: boolean } | undefined;
  return ({ engine, master, masterFailedMs }) => {
    const copy = `${engine.run} ${master}`;
    if (began?.run !== engine.run && !engine.loading) began = { run: engine.run, withData: !engine.empty && !engine.linkUp };
    if (engine.linkUp && masterFailedMs === undefined) whole = copy;
    return whole === copy || (began?.run === engine.run && began.withData) || (masterFailedMs ?? 0) > GIVEN_UP_MS;
  };
}
