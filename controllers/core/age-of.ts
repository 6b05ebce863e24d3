/** Milliseconds since a thing was first seen to be as it is now; undefined things have no age. */
export function createAgeOf(now: () => number = () => performance.now()) {
  let seen: { what: string; since: number } | undefined;
  return (what: string | undefined): number => {
    if (what === undefined) {
      seen = undefined;
      return 0;
    }
    if (seen?.what !== what) seen = { what, since: now() };
    return now() - seen.since;
  };
}
