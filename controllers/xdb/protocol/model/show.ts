import * as f from '#xdb/protocol/model/layout.ts';
import { type Found, way } from '#xdb/protocol/model/search.ts';
import type { World } from '#xdb/protocol/model/world.ts';

/** One line that shows a state: the record, then both members with their logs (`!` = a client heard OK, `?` = one waits). */
export function show(s: f.State): string {
  const flags = [s[f.SYNC] === 1 ? 'sync B' : '', s[f.CAND] === 1 ? 'cand B' : '', s[f.PREV] === 1 ? 'prev B' : ''].filter(
    (text) => text !== '',
  );
  const record = `A leads${flags.length === 0 ? '' : `, ${flags.join(', ')}`}${s[f.PROMOTING] === 1 ? ', promoting' : ''}`;
  return [record, member(s, 0), member(s, 1)].join(' | ');
}

function member(s: f.State, index: number): string {
  const m = f.at(index);
  const log = Array.from({ length: s[m + f.LEN]! }, (_, k) => {
    const id = s[m + f.LOG + k]!;
    const has = (mask: number) => ((mask >> (id - 1)) & 1) === 1;
    return `${id}${has(s[m + f.PENDING]!) ? '?' : ''}${has(s[f.ACKED]!) ? '!' : ''}`;
  });
  const words = [
    index === 0 ? 'A' : 'B',
    s[m + f.ENGINE] === 0 ? 'down' : s[m + f.READ_ONLY] === 1 ? 'ro' : 'RW',
    s[m + f.SEMI_SYNC] === 1 ? 'semi' : '',
    `[${log.join(' ')}]`,
    s[m + f.DRAINED] === 0 ? 'undrained' : '',
    s[m + f.NOTED] === 1 ? 'noted' : '',
    s[m + f.CONNECTED] === 1 ? 'connected' : s[m + f.IO] === 1 ? 'connecting' : '',
    s[m + f.GEN_OK] === 0 ? 'other generation' : '',
    s[m + f.HAS_DATA] === 0 ? 'EMPTY' : '',
    s[m + f.WAS_MASTER] === 1 ? 'led' : '',
    ['', 'ready', 'ready before'][s[m + f.READY]!]!,
    s[m + f.NONE] === 1 ? 'none confirmed' : '',
    s[m + f.BACK] === 0 ? '' : `back ${s[m + f.BACK]}${s[m + f.BACK] === 2 ? ` to ${s[m + f.POSITION]}` : ''}`,
    s[m + f.DOING] === 0 ? '' : `doing ${s[m + f.DOING]}`,
    s[m + f.REQUESTS] === 0 ? '' : `requests ${s[m + f.REQUESTS]!.toString(2)}`,
    s[m + f.PUBLISHING] === 0 ? '' : `publishing ${s[m + f.PUBLISHING]!.toString(2)}`,
    s[m + f.STRAY] === 0 ? '' : `stray ${s[m + f.STRAY]}`,
    s[m + f.ACK_IN] === 0 ? '' : `ack ${s[m + f.ACK_IN]} arriving`,
  ];
  return words.filter((word) => word !== '').join(' ');
}

/** The way to a state, a line a transition. After a change of the leader the members' letters are swapped: A always leads. */
export function trace(world: World, found: Found, to: number): string[] {
  const numbers = way(found.parents, to);
  const state = f.newState();
  const packed = new Uint32Array(f.WORDS);
  const at = (number: number): void => f.unpack(found.words, number * f.WORDS, state);
  at(0);
  const lines = [`   0 ${show(state)}`];
  for (let k = 1; k < numbers.length; k++) {
    at(numbers[k - 1]!);
    const wanted = numbers[k]! * f.WORDS;
    let label: string | undefined;
    world.expand(state, (next, text, who) => {
      f.pack(next, packed, 0);
      if (label === undefined && packed.every((word, index) => word === found.words[wanted + index]))
        label = `${who === 0 ? 'A' : 'B'} ${text}`;
    });
    at(numbers[k]!);
    lines.push(`${String(k).padStart(4)} ${label}`, `       ${show(state)}`);
  }
  return lines;
}
