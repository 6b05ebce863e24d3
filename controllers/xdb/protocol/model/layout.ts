/**
 * A state of the model: small integers in one array, and five 32-bit words when it is kept. Fields of the world first, then those of the two members. Times,
 * epochs and indices are not in it: "current or not" is what every rule asks of them.
 */

export const WORDS = 5;
/** Transactions that can be live (not yet durable on both members) at once. */
export const MAX_LIVE = 3;

// The record. `sync`, `cand` and `prev` can only be the member that does not lead.
export const LEADER = 0;
export const SYNC = 1;
export const CAND = 2;
export const PREV = 3;
export const PROMOTING = 4;
/** Per transaction (bit id - 1): the member that wrote it. */
export const AUTHOR = 5;
/** Transactions that a client was told are committed. */
export const ACKED = 6;

const MEMBERS_AT = 8;
export const MEMBER_SIZE = 34;
export const SIZE = MEMBERS_AT + 2 * MEMBER_SIZE;
/** Where a member's fields begin. */
export const at = (member: number): number => MEMBERS_AT + member * MEMBER_SIZE;

// A member: its log (ids of transactions, oldest first, 0 = none) and engine.
export const LOG = 0;
export const LEN = 3;
export const ENGINE = 4;
export const READ_ONLY = 5;
export const SEMI_SYNC = 6;
/** SQL thread runs. */
export const SQL = 7;
/** The last transaction received is applied, not only in the relay log. */
export const DRAINED = 8;
export const WAS_MASTER = 9;
/** The record, where it names this member, means the data that it has. */
export const GEN_OK = 10;
export const HAS_DATA = 11;
/** The data contain everything older than the live transactions. */
export const WHOLE = 12;
/** `data/<member>.ready`: 0 null, 1 this epoch, 2 an older one. */
export const READY = 13;
/** `data/<member>` names the present start of the engine. */
export const BOOT = 14;
/** Commits that wait (bit id - 1), and those of them that wait for no acknowledgement. */
export const PENDING = 15;
export const NO_WAIT = 16;
/** IO thread is to follow the other; it is connected. */
export const IO = 17;
export const CONNECTED = 18;
/** Length of the log that an acknowledgement on its way to this member is about. */
export const ACK_IN = 19;
// What its sidecar remembers (memory.ts), as far as it is valid.
export const NONE = 20;
/** 0 not begun, 1 B1 confirmed, 2 position sampled. */
export const BACK = 21;
export const POSITION = 22;
export const STOPPED = 23;
export const FORGOTTEN = 24;
/** 0 not asked, 1 contained, 2 diverged. */
export const COMPARED = 25;
/** Step that is decided and not done: a code of codes.ts. */
export const DOING = 26;
/** Writes of the record on their way (bits of codes.ts). */
export const REQUESTS = 27;
/** Writes of its data record on their way. */
export const PUBLISHING = 28;
/** Command of a former life of the sidecar that still is in the engine: 0 none, 1 semi-sync off, 2 read-only off, 3 START SLAVE. */
export const STRAY = 29;
export const ADOPTED = 30;
/** R1 confirmed. */
export const WITHDRAWN = 32;
/** J2: noted on its disk that what it has may be in the memory of this start of its host only. */
export const NOTED = 33;
/** The record as it was last read here, where that is not the present one (bits below); 0 = it is. */
export const VIEW = 31;

export const VIEW_STALE = 1;
export const VIEW_LEADS = 2;
export const VIEW_SYNC = 4;
export const VIEW_CAND = 8;
export const VIEW_PREV = 16;
export const VIEW_PROMOTING = 32;
export const VIEW_GEN_OK = 64;
/** The epoch has changed since. */
export const VIEW_EPOCH_OVER = 128;
/** Its own data record, read together with it: boot (1 bit), ready (2 bits). */
export const VIEW_BOOT = 256;
export const VIEW_READY_SHIFT = 9;
const VIEW_BITS = 11;
/** With WITHDRAWN and NOTED above them. */
const LAST_BITS = 13;

export type State = Int32Array;

export const newState = (): State => new Int32Array(SIZE);

const bit = (words: Uint32Array, from: number, word: number, shift: number, mask: number) => (words[from + word]! >>> shift) & mask;

/** Writes the state into its words at `to`. */
export function pack(s: State, words: Uint32Array, to: number): void {
  for (let member = 0; member < 2; member++) {
    const m = at(member);
    let w =
      s[m + LOG]! |
      (s[m + LOG + 1]! << 2) |
      (s[m + LOG + 2]! << 4) |
      (s[m + ENGINE]! << 6) |
      (s[m + READ_ONLY]! << 7) |
      (s[m + SEMI_SYNC]! << 8) |
      (s[m + SQL]! << 9) |
      (s[m + DRAINED]! << 10) |
      (s[m + WAS_MASTER]! << 11) |
      (s[m + GEN_OK]! << 12) |
      (s[m + HAS_DATA]! << 13) |
      (s[m + WHOLE]! << 14) |
      (s[m + READY]! << 15) |
      (s[m + BOOT]! << 17) |
      (s[m + PENDING]! << 18) |
      (s[m + NO_WAIT]! << 21) |
      (s[m + IO]! << 24) |
      (s[m + CONNECTED]! << 25) |
      (s[m + ACK_IN]! << 26);
    w |= member === 0 ? (s[SYNC]! << 28) | (s[CAND]! << 29) | (s[PREV]! << 30) | (s[PROMOTING]! << 31) : s[ACKED]! << 28;
    if (member === 1) w |= (s[AUTHOR]! & 1) << 31;
    words[to + 2 * member] = w;
    words[to + 2 * member + 1] =
      s[m + NONE]! |
      (s[m + BACK]! << 1) |
      (s[m + POSITION]! << 3) |
      (s[m + STOPPED]! << 5) |
      (s[m + FORGOTTEN]! << 6) |
      (s[m + COMPARED]! << 7) |
      (s[m + DOING]! << 9) |
      (s[m + REQUESTS]! << 14) |
      (s[m + PUBLISHING]! << 22) |
      (s[m + STRAY]! << 28) |
      (s[m + ADOPTED]! << 30) |
      (((s[AUTHOR]! >> (member + 1)) & 1) << 31);
  }
  words[to + 4] = last(s, at(0)) | (last(s, at(1)) << LAST_BITS);
}

const last = (s: State, m: number): number => s[m + VIEW]! | (s[m + WITHDRAWN]! << VIEW_BITS) | (s[m + NOTED]! << (VIEW_BITS + 1));

/** The opposite of {@link pack}; a packed state always has member 0 as leader. */
export function unpack(words: Uint32Array, from: number, s: State): void {
  s[LEADER] = 0;
  s[SYNC] = bit(words, from, 0, 28, 1);
  s[CAND] = bit(words, from, 0, 29, 1);
  s[PREV] = bit(words, from, 0, 30, 1);
  s[PROMOTING] = bit(words, from, 0, 31, 1);
  s[ACKED] = bit(words, from, 2, 28, 7);
  s[AUTHOR] = bit(words, from, 2, 31, 1) | (bit(words, from, 1, 31, 1) << 1) | (bit(words, from, 3, 31, 1) << 2);
  for (let member = 0; member < 2; member++) {
    const m = at(member);
    const a = words[from + 2 * member]!;
    const b = words[from + 2 * member + 1]!;
    const first = a & 3;
    const second = (a >>> 2) & 3;
    const third = (a >>> 4) & 3;
    s[m + LOG] = first;
    s[m + LOG + 1] = second;
    s[m + LOG + 2] = third;
    s[m + LEN] = first === 0 ? 0 : second === 0 ? 1 : third === 0 ? 2 : 3;
    s[m + ENGINE] = (a >>> 6) & 1;
    s[m + READ_ONLY] = (a >>> 7) & 1;
    s[m + SEMI_SYNC] = (a >>> 8) & 1;
    s[m + SQL] = (a >>> 9) & 1;
    s[m + DRAINED] = (a >>> 10) & 1;
    s[m + WAS_MASTER] = (a >>> 11) & 1;
    s[m + GEN_OK] = (a >>> 12) & 1;
    s[m + HAS_DATA] = (a >>> 13) & 1;
    s[m + WHOLE] = (a >>> 14) & 1;
    s[m + READY] = (a >>> 15) & 3;
    s[m + BOOT] = (a >>> 17) & 1;
    s[m + PENDING] = (a >>> 18) & 7;
    s[m + NO_WAIT] = (a >>> 21) & 7;
    s[m + IO] = (a >>> 24) & 1;
    s[m + CONNECTED] = (a >>> 25) & 1;
    s[m + ACK_IN] = (a >>> 26) & 3;
    s[m + NONE] = b & 1;
    s[m + BACK] = (b >>> 1) & 3;
    s[m + POSITION] = (b >>> 3) & 3;
    s[m + STOPPED] = (b >>> 5) & 1;
    s[m + FORGOTTEN] = (b >>> 6) & 1;
    s[m + COMPARED] = (b >>> 7) & 3;
    s[m + DOING] = (b >>> 9) & 31;
    s[m + REQUESTS] = (b >>> 14) & 255;
    s[m + PUBLISHING] = (b >>> 22) & 63;
    s[m + ADOPTED] = (b >>> 30) & 1;
    s[m + VIEW] = bit(words, from, 4, LAST_BITS * member, (1 << VIEW_BITS) - 1);
    const rest = LAST_BITS * member + VIEW_BITS;
    s[m + WITHDRAWN] = bit(words, from, 4, rest, 1);
    s[m + NOTED] = bit(words, from, 4, rest + 1, 1);
    s[m + STRAY] = (b >>> 28) & 3;
  }
}

/** Position of a transaction in a member's log, or -1. */
export function inLog(s: State, m: number, id: number): boolean {
  for (let k = 0; k < s[m + LEN]!; k++) if (s[m + LOG + k] === id) return true;
  return false;
}

/** Removes what comes after the first `length` transactions. */
export function cut(s: State, m: number, length: number): void {
  for (let k = length; k < MAX_LIVE; k++) s[m + LOG + k] = 0;
  s[m + LEN] = length;
}
