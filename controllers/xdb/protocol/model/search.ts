import * as f from '#xdb/protocol/model/layout.ts';
import type { World } from '#xdb/protocol/model/world.ts';

export interface SearchOptions {
  /** States after which it gives up. */
  maxStates: number;
  /** Milliseconds after which it gives up. */
  maxMs: number;
  /** Keep the transitions without a fault, to look for ways to recover ({@link stuckStates}). */
  keepEdges?: boolean;
}

export interface Violation {
  what: string;
  /** Transitions from the beginning to it, itself included. */
  steps: number;
  /** State (by number) in which the transition begins that breaks it. */
  from: number;
  label: string;
  member: number;
}

export interface Found {
  states: number;
  transitions: number;
  /** Every reachable state was seen. */
  complete: boolean;
  violation: Violation | undefined;
  ms: number;
  /** Number of the state from which each was reached first; breadth first, so the way is a shortest one. */
  parents: Uint32Array;
  words: Uint32Array;
  /** Transitions without a fault: from `offsets[i]` to `offsets[i + 1]` lie the successors of state i. */
  edges: { offsets: Uint32Array; to: Uint32Array } | undefined;
}

/** Breadth first through all states, until one breaks what must hold. */
export function search(world: World, options: SearchOptions): Found {
  const began = Date.now();
  const store = createStore();
  const state = f.newState();
  const packed = new Uint32Array(f.WORDS);
  const edges = options.keepEdges === true ? { offsets: createList(), to: createList() } : undefined;
  let violation: Violation | undefined;
  let transitions = 0;
  let current = 0;
  let complete = true;

  f.pack(world.initial(), packed, 0);
  store.add(packed, 0);
  const emit = (next: f.State, label: string, member: number, fault: boolean, what: string | undefined): void => {
    transitions++;
    if (what !== undefined) {
      violation ??= { what, steps: 0, from: current, label, member };
      return;
    }
    f.pack(next, packed, 0);
    const number = store.add(packed, current);
    if (!fault) edges?.to.push(number);
  };
  for (; current < store.size() && violation === undefined; current++) {
    if (store.size() > options.maxStates || ((current & 1023) === 0 && Date.now() - began > options.maxMs)) {
      complete = false;
      break;
    }
    edges?.offsets.push(edges.to.size());
    f.unpack(store.words(), current * f.WORDS, state);
    world.expand(state, emit);
  }
  edges?.offsets.push(edges.to.size());
  const parents = store.parents();
  if (violation !== undefined) violation.steps = way(parents, violation.from).length;
  return {
    states: store.size(),
    transitions,
    complete: complete && violation === undefined,
    violation,
    ms: Date.now() - began,
    parents,
    words: store.words(),
    edges: edges === undefined ? undefined : { offsets: edges.offsets.values(), to: edges.to.values() },
  };
}

/** Numbers of the states from the first one to this. */
export function way(parents: Uint32Array, to: number): number[] {
  const numbers = [to];
  for (let number = to; number !== 0; ) {
    number = parents[number]!;
    numbers.push(number);
  }
  return numbers.reverse();
}

/** A set of packed states that numbers them in order of arrival. */
function createStore() {
  let capacity = 1 << 16;
  let words = new Uint32Array(capacity * f.WORDS);
  let parents = new Uint32Array(capacity);
  let mask = 2 * capacity - 1;
  let table = new Uint32Array(mask + 1);
  let size = 0;

  const hash = (from: Uint32Array, at: number): number => {
    let h = Math.imul(from[at]! ^ 0x9e3779b9, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ from[at + 1]!, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ from[at + 2]!, 0x27d4eb2f);
    h = Math.imul(h ^ (h >>> 16) ^ from[at + 3]!, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ from[at + 4]!, 0xc2b2ae35);
    return (h ^ (h >>> 14)) & mask;
  };
  const grow = (): void => {
    capacity *= 2;
    const wider = new Uint32Array(capacity * f.WORDS);
    wider.set(words);
    words = wider;
    const more = new Uint32Array(capacity);
    more.set(parents);
    parents = more;
    mask = 2 * capacity - 1;
    table = new Uint32Array(mask + 1);
    for (let number = 0; number < size; number++) {
      let slot = hash(words, number * f.WORDS);
      while (table[slot] !== 0) slot = (slot + 1) & mask;
      table[slot] = number + 1;
    }
  };
  return {
    size: () => size,
    words: () => words,
    parents: () => parents,
    /** @returns its number */
    add(packed: Uint32Array, parent: number): number {
      let slot = hash(packed, 0);
      for (let entry = table[slot]!; entry !== 0; entry = table[slot]!) {
        if (same(words, (entry - 1) * f.WORDS, packed)) return entry - 1;
        slot = (slot + 1) & mask;
      }
      const number = size++;
      words.set(packed, number * f.WORDS);
      parents[number] = parent;
      table[slot] = size;
      if (size === capacity) grow();
      return number;
    },
  };
}

function same(words: Uint32Array, at: number, packed: Uint32Array): boolean {
  for (let k = 0; k < f.WORDS; k++) if (words[at + k] !== packed[k]) return false;
  return true;
}

/** A list of numbers that grows. */
function createList() {
  let values = new Uint32Array(1 << 16);
  let size = 0;
  return {
    size: () => size,
    values: () => values.subarray(0, size),
    push(value: number): void {
      if (size === values.length) {
        const wider = new Uint32Array(2 * size);
        wider.set(values);
        values = wider;
      }
      values[size++] = value;
    },
  };
}
