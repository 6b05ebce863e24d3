import * as f from '#xdb/protocol/model/layout.ts';
import type { Found } from '#xdb/protocol/model/search.ts';

export interface Recovery {
  /** States in which a leader takes writes and its sync slave follows with equal logs. */
  whole: number;
  /** States from which no way without a further fault leads there, though a complete copy exists. */
  stuck: number;
  /** One of them. */
  example: number | undefined;
  /** The same, where the only copy that is known to be complete is gone (U1, U2). */
  lost: number;
}

/** P4: from every state a way leads, without a further fault, to a pair that is whole. Needs the transitions of a complete search. */
export function recovery(found: Found): Recovery {
  if (found.edges === undefined || !found.complete) throw new Error('the search kept no transitions, or was not complete');
  const { offsets, to } = found.edges;
  const back = reversed(offsets, to, found.states);
  const good = new Uint8Array(found.states);
  const queue = new Uint32Array(found.states);
  let tail = 0;
  const state = f.newState();
  for (let number = 0; number < found.states; number++) {
    f.unpack(found.words, number * f.WORDS, state);
    if (!isWhole(state)) continue;
    good[number] = 1;
    queue[tail++] = number;
  }
  const whole = tail;
  for (let head = 0; head < tail; head++) {
    const number = queue[head]!;
    for (let k = back.offsets[number]!; k < back.offsets[number + 1]!; k++) {
      const before = back.from[k]!;
      if (good[before] === 1) continue;
      good[before] = 1;
      queue[tail++] = before;
    }
  }
  const result: Recovery = { whole, stuck: 0, example: undefined, lost: 0 };
  for (let number = 0; number < found.states; number++) {
    if (good[number] === 1) continue;
    f.unpack(found.words, number * f.WORDS, state);
    if (isLost(state)) result.lost++;
    else {
      result.stuck++;
      result.example ??= number;
    }
  }
  return result;
}

function reversed(offsets: Uint32Array, to: Uint32Array, states: number): { offsets: Uint32Array; from: Uint32Array } {
  const starts = new Uint32Array(states + 2);
  for (const number of to) starts[number + 2] = starts[number + 2]! + 1;
  for (let k = 2; k < starts.length; k++) starts[k] = starts[k]! + starts[k - 1]!;
  const from = new Uint32Array(to.length);
  for (let number = 0; number < states; number++) {
    for (let k = offsets[number]!; k < offsets[number + 1]!; k++) {
      const next = to[k]!;
      from[starts[next + 1]!] = number;
      starts[next + 1] = starts[next + 1]! + 1;
    }
  }
  return { offsets: starts, from };
}

function isWhole(s: f.State): boolean {
  if (s[f.PROMOTING] === 1 || s[f.SYNC] === 0) return false;
  const leader = f.at(s[f.LEADER]!);
  const slave = f.at(1 - s[f.LEADER]!);
  return (
    s[leader + f.ENGINE] === 1 &&
    s[leader + f.READ_ONLY] === 0 &&
    s[leader + f.SEMI_SYNC] === 1 &&
    s[slave + f.ENGINE] === 1 &&
    s[slave + f.READ_ONLY] === 1 &&
    s[slave + f.CONNECTED] === 1 &&
    s[leader + f.LEN] === s[slave + f.LEN] &&
    s[leader + f.GEN_OK] === 1 &&
    s[slave + f.GEN_OK] === 1
  );
}

/** U1, U2: what the record means as complete is gone on every member that it names. */
function isLost(s: f.State): boolean {
  const leader = f.at(s[f.LEADER]!);
  const other = f.at(1 - s[f.LEADER]!);
  if (s[leader + f.GEN_OK] === 1) return false;
  const second = s[f.PROMOTING] === 1 ? s[f.PREV] === 1 : s[f.SYNC] === 1;
  return !(second && s[other + f.GEN_OK] === 1);
}
