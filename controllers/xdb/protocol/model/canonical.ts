import { isAwaited, isCommand } from '#xdb/protocol/model/codes.ts';
import * as f from '#xdb/protocol/model/layout.ts';

/**
 * One state for all that differ in nothing that matters: the leader is member 0, transactions are numbered in order of appearance, and what nobody can ever look at
 * is 0.
 */
export function canonical(s: f.State, keepStaleReady: boolean): void {
  for (let member = 0; member < 2; member++) settle(s, member, keepStaleReady);
  if (s[f.LEADER] === 1) swap(s);
  renumber(s);
}

function settle(s: f.State, member: number, keepStaleReady: boolean): void {
  const m = f.at(member);
  const o = f.at(1 - member);
  if (s[m + f.ENGINE] === 0) {
    s[m + f.READ_ONLY] = 1;
    for (const field of WITH_ENGINE) s[m + field] = 0;
    s[o + f.CONNECTED] = 0;
  }
  if (s[m + f.IO] === 0) s[m + f.CONNECTED] = 0;
  const leads = s[f.LEADER] === member;
  if (!leads && s[f.SYNC] === 0 && s[f.CAND] === 0 && s[f.PREV] === 0) s[m + f.GEN_OK] = 1;
  if (s[m + f.READY] === 2 && !keepStaleReady) s[m + f.READY] = 0;
  if (s[m + f.VIEW] === 0) settleMemory(s, m, leads);
}

function settleMemory(s: f.State, m: number, leads: boolean): void {
  // Remembered for an epoch or an index that is over, or for another role.
  if (!leads || s[f.PROMOTING] === 1 || s[f.SYNC] === 1) {
    s[m + f.NONE] = 0;
    s[m + f.BACK] = 0;
  }
  if (s[m + f.BACK] !== 2) s[m + f.POSITION] = 0;
  if (!leads || s[f.PROMOTING] === 0) {
    s[m + f.STOPPED] = 0;
    s[m + f.FORGOTTEN] = 0;
  }
  if (!leads) return;
  s[m + f.COMPARED] = 0;
  s[m + f.WITHDRAWN] = 0;
}

const WITH_ENGINE = [f.SEMI_SYNC, f.SQL, f.IO, f.CONNECTED, f.PENDING, f.NO_WAIT, f.ACK_IN, f.BOOT, f.STRAY];

function swap(s: f.State): void {
  const a = f.at(0);
  const b = f.at(1);
  for (let k = 0; k < f.MEMBER_SIZE; k++) {
    const kept = s[a + k]!;
    s[a + k] = s[b + k]!;
    s[b + k] = kept;
  }
  s[f.LEADER] = 0;
  s[f.AUTHOR] = ~s[f.AUTHOR]! & 7;
}

const numbers = new Int32Array(4);

function renumber(s: f.State): void {
  numbers.fill(0);
  let count = 0;
  for (let member = 0; member < 2; member++) {
    const m = f.at(member);
    for (let k = 0; k < s[m + f.LEN]!; k++) {
      const id = s[m + f.LOG + k]!;
      if (numbers[id] === 0) numbers[id] = ++count;
    }
  }
  const acked = s[f.ACKED]!;
  for (let id = 1; id <= f.MAX_LIVE; id++) if (numbers[id] === 0 && ((acked >> (id - 1)) & 1) === 1) numbers[id] = ++count;
  let author = 0;
  const before = s[f.AUTHOR]!;
  for (let id = 1; id <= f.MAX_LIVE; id++) if (numbers[id] !== 0) author |= ((before >> (id - 1)) & 1) << (numbers[id]! - 1);
  s[f.AUTHOR] = author;
  s[f.ACKED] = renumbered(acked);
  for (let member = 0; member < 2; member++) {
    const m = f.at(member);
    for (let k = 0; k < s[m + f.LEN]!; k++) s[m + f.LOG + k] = numbers[s[m + f.LOG + k]!]!;
    const pending = renumbered(s[m + f.PENDING]!);
    s[m + f.PENDING] = pending;
    s[m + f.NO_WAIT] = renumbered(s[m + f.NO_WAIT]!) & pending;
  }
}

function renumbered(mask: number): number {
  let out = 0;
  for (let id = 1; id <= f.MAX_LIVE; id++) if (((mask >> (id - 1)) & 1) === 1 && numbers[id] !== 0) out |= 1 << (numbers[id]! - 1);
  return out;
}

/** What the end of an engine ends in its sidecar: commands on its connection (A2). A sidecar that waits for an answer of Consul's is as free as one that does not. */
export const endsWithEngine = (code: number): boolean => isCommand(code) || isAwaited(code);
