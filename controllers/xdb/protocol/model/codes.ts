import type { Step } from '#xdb/protocol/types.ts';

/** A step of decide, as the number by which the model keeps it. Up to {@link LAST_KEPT} it can be decided now and done at any time later. */
export const START_MASTER = 1;
export const START_PLAIN = 2;
export const START_CUT = 3;
export const START_CUT_MASTER = 4;
export const ASYNC = 5;
export const SEMI = 6;
export const MARK = 7;
export const UNMARK = 8;
export const WRITABLE = 9;
export const READONLY = 10;
export const FOLLOW = 11;
export const WIPE = 12;
export const STOP = 13;
export const DRAIN = 14;
export const FORGET = 15;
/** Writes whose answer the sidecar has to hear: it waits for it while it has this code. */
export const WRITE_NONE = 16;
export const WRITE_CAND = 17;
export const WRITE_OPEN = 18;
export const WRITE_WITHDRAW = 19;
export const LAST_KEPT = 19;
/** Writes whose answer changes nothing that it remembers. */
export const WRITE_SYNC = 22;
export const WRITE_PROMOTE = 23;
export const WRITE_BACK = 24;
export const PUBLISH_BOOT = 25;
export const PUBLISH_READY = 26;
/** Seen or done at once: to do it later is the same as to decide it later. */
export const KILL = 27;
export const SAMPLE = 28;
export const COMPARE = 29;
export const CLONE = 30;
export const KILL_USERS = 31;
export const ADOPT = 32;
export const LEAVE = 33;
export const NOTHING = 0;

/** Bits of requests on their way. */
export const REQUEST: Readonly<Record<number, number>> = {
  [WRITE_NONE]: 1,
  [WRITE_CAND]: 2,
  [WRITE_SYNC]: 4,
  [WRITE_PROMOTE]: 8,
  [WRITE_OPEN]: 16,
  [WRITE_BACK]: 32,
  [WRITE_WITHDRAW]: 64,
};
/** B1 that names data that were wiped since. */
export const REQUEST_CAND_GONE = 128;

// Bits of publications on their way: `ready` null, of this epoch, of an older one; of the present start of the engine or (<< 3) of an older one.
export const PUB_BOOT = 1;
export const PUB_READY = 2;
export const PUB_STALE = 4;
export const PUB_OLD_SHIFT = 3;

/** Commands on the connection to one instance of the engine. */
export const isCommand = (code: number): boolean => code >= ASYNC && code <= FORGET && code !== WIPE && code !== MARK && code !== UNMARK;
export const isAwaited = (code: number): boolean => code >= WRITE_NONE && code <= WRITE_WITHDRAW;

const WRITES: Readonly<Record<string, number>> = {
  F1: WRITE_NONE,
  B1: WRITE_CAND,
  B3: WRITE_SYNC,
  P1: WRITE_PROMOTE,
  P5: WRITE_OPEN,
  T: WRITE_BACK,
  R1: WRITE_WITHDRAW,
};

/** @throws when decide has a step that the model does not know */
export function codeOf(step: Step): number {
  switch (step.do) {
    case 'wait':
    case 'move':
    case 'leave':
      return NOTHING;
    case 'start':
      if (step.role === 'SLAVE') return step.semiSyncMaster ? START_CUT_MASTER : START_CUT;
      return step.semiSyncMaster ? START_MASTER : START_PLAIN;
    case 'semi_sync_master':
      return step.on ? SEMI : ASYNC;
    case 'mark_master':
      return step.was ? MARK : UNMARK;
    case 'read_only':
      return step.on ? READONLY : WRITABLE;
    case 'follow':
      return FOLLOW;
    case 'wipe':
      return WIPE;
    case 'stop_receiving':
      return step.rule === 'P2' ? STOP : LEAVE;
    case 'drain':
      return DRAIN;
    case 'forget_master':
      return FORGET;
    case 'publish':
      return step.ready === null ? PUBLISH_BOOT : PUBLISH_READY;
    case 'kill':
      return KILL;
    case 'sample':
      return SAMPLE;
    case 'compare':
      return COMPARE;
    case 'clone':
      return CLONE;
    case 'kill_users':
      return KILL_USERS;
    case 'adopt':
      return ADOPT;
    case 'write': {
      const code = WRITES[step.rule];
      if (code !== undefined) return code;
    }
  }
  throw new Error(`the model does not know the step ${step.rule} ${step.do}`);
}
