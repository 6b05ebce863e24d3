/**
 * What a client of a cache writes: each worker has, in each round, a list of the numbers it wrote and a count of them, changed together. One that is there twice, in another order, or without
 * the other is seen.
 */
export interface Place {
  round: number;
  client: string;
  worker: number;
}

export const listKey = ({ round, client, worker }: Place): string => `list:{${round}/${client}/${worker}}`;
export const countKey = (place: Place): string => listKey(place).replace('list', 'count');

/** @returns undefined for a key that is none of ours */
export function placeOf(key: string): Place | undefined {
  const [, round, client, worker] = /^(?:list|count):\{(\d+)\/([^/]+)\/(\d+)\}$/.exec(key) ?? [];
  return client === undefined ? undefined : { round: Number(round), client, worker: Number(worker) };
}
