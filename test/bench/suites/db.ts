import { xdbStage } from '#test/xdb-image.ts';
import { type PairPart, pair } from '../db/pair.ts';
import { type PoolPart, pool } from '../db/pool.ts';
import { ratio } from '../db/ratio.ts';
import type { Suite } from '../suite.ts';

const PAIR: readonly PairPart[] = ['switchover', 'crash', 'rest'];
const POOL: readonly PoolPart[] = ['create', 'host'];

/** A database. What needs no hosts is measured on a pair in one engine, the rest on a pool of three. */
export const db: Suite = {
  names: [...PAIR, 'ratio', ...POOL],
  image: () => xdbStage('member'),
  programs: { mariadb: ['mariadbd', '--version'], haproxy: ['haproxy', '-v'] },
  groups({ plan, only, say }) {
    const ofPair = new Set(PAIR.filter((part) => only.has(part)));
    const ofPool = new Set(POOL.filter((part) => only.has(part)));
    return [
      { name: 'a pair in one engine', wanted: ofPair.size > 0, measure: () => pair(plan, say, ofPair) },
      { name: 'a pair that waits for its slave against one that does not', wanted: only.has('ratio'), measure: () => ratio(plan, say) },
      { name: 'a pool of three', wanted: ofPool.size > 0, measure: () => pool(plan, say, ofPool) },
    ];
  },
};
