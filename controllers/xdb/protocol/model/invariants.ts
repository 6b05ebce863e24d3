import * as f from '#xdb/protocol/model/layout.ts';
import type { Guards } from '#xdb/protocol/types.ts';

/**
 * What holds in every state. I3 and I5 are looked at where they happen (world.ts): a member opens, a slave receives.
 *
 * @returns what is broken
 */
export function broken(s: f.State, _guards: Guards): string | undefined {
  const leader = f.at(s[f.LEADER]!);
  const second = f.at(1 - s[f.LEADER]!);
  if (s[f.PROMOTING] === 0 && s[leader + f.GEN_OK] === 1) {
    if (lacks(s, leader)) return 'I1: the open leader lacks an acknowledged transaction';
    if (s[leader + f.WHOLE] === 0) return 'I1: the open leader lacks the data';
  }
  if (s[f.PROMOTING] === 0 && s[f.SYNC] === 1 && s[second + f.GEN_OK] === 1 && lacks(s, second)) {
    return 'I2: the record names a sync slave that lacks an acknowledged transaction';
  }
  return reused(s, leader, second);
}

function lacks(s: f.State, m: number): boolean {
  const acked = s[f.ACKED]!;
  if (acked === 0) return false;
  for (let id = 1; id <= f.MAX_LIVE; id++) if (((acked >> (id - 1)) & 1) === 1 && !f.inLog(s, m, id)) return true;
  return false;
}

/** I4: the same author at the same place means the same transaction on the same history. */
function reused(s: f.State, a: number, b: number): string | undefined {
  if (s[a + f.WHOLE] === 0 || s[b + f.WHOLE] === 0) return undefined;
  let equal = true;
  for (let k = 0; k < s[a + f.LEN]! && k < s[b + f.LEN]!; k++) {
    const mine = s[a + f.LOG + k]!;
    const theirs = s[b + f.LOG + k]!;
    if (mine !== theirs) equal = false;
    const sameAuthor = ((s[f.AUTHOR]! >> (mine - 1)) & 1) === ((s[f.AUTHOR]! >> (theirs - 1)) & 1);
    if (!equal && sameAuthor) return mine === theirs ? 'I4: one transaction on two histories' : 'I4: a GTID is used twice';
  }
  return undefined;
}
