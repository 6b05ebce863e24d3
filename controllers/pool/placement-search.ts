import { capacityOf, milliCpus } from '#pool/capacity.ts';
import { satisfies } from '#pool/constraints.ts';
import type { Host } from '#pool/host.ts';
import { type Board, type Filter, filtersOf, placeKey, type Seat, type Square } from '#pool/placement-board.ts';
import type { MemberToPlace, Strategy } from '#pool/placement-request.ts';

export interface SearchRequest {
  board: Board;
  members: readonly MemberToPlace[];
  strategy: Strategy;
  seed: number;
}

export type SearchResult =
  | { ok: true; seats: Map<string, { host: Host; cpus: number[]; eligible: number }> }
  /** `stuck` found no host on `board`, which is as full as it was at that moment. */
  | { ok: false; stuck: MemberToPlace; board: Board };

/**
 * Steps of the search. Three members over eight hosts are 585 at the most; a pool where everything fits needs one a member. At 300 hosts
 * the bound costs about a second, once, and only where no placement without sharing is found sooner.
 */
const MAX_STEPS = 4000;

/** Weights that make one number of (shared groups, shared racks, shared hosts, broken wishes), compared in this order. */
const GROUP = 1e11;
const RACK = 1e7;
const HOST = 1e3;

/**
 * Depth first, the best host first, hardest member first. Stops at a placement that shares no more than any can; else goes on for a
 * better one, leaving out what cannot beat the best so far, until everything was tried or {@link MAX_STEPS} are spent.
 */
export function search({ board, members, strategy, seed }: SearchRequest): SearchResult {
  const plans = members.map((member) => planFor(member, board));
  plans.sort((a, b) => a.eligible.length - b.eligible.length || size(b.member) - size(a.member) || byName(a.member.id, b.member.id));
  const hopeless = plans.find((plan) => plan.eligible.length === 0);
  if (hopeless !== undefined) return { ok: false, stuck: hopeless.member, board };

  const floor = leastCost(plans, board);
  const seats: { seat: Seat; eligible: number }[] = [];
  let best: { cost: number; seats: { seat: Seat; eligible: number }[] } | undefined;
  let stuck: { depth: number; seats: Seat[] } | undefined;
  let steps = 0;

  const descend = (depth: number, cost: number): boolean => {
    const plan = plans[depth];
    if (plan === undefined) {
      best = { cost, seats: [...seats] };
      return cost <= floor;
    }
    const open = plan.eligible.filter((square) => plan.changing.every((filter) => filter.passes(square)));
    if (open.length === 0 && (stuck === undefined || depth > stuck.depth)) stuck = { depth, seats: seats.map(({ seat }) => seat) };
    const choices = open.map((square) => ({
      square,
      price: priceOf(plan, square, board),
      rank: rankOf(plan.member, square, strategy, seed),
    }));
    choices.sort((a, b) => a.price - b.price || a.rank - b.rank || byName(a.square.host.spec.name, b.square.host.spec.name));
    for (const { square, price } of choices) {
      if (best !== undefined && cost + price >= best.cost) break;
      steps += 1;
      if (steps > MAX_STEPS) return true;
      const seat = board.take(plan.member, square);
      seats.push({ seat, eligible: open.length });
      const done = descend(depth + 1, cost + price);
      seats.pop();
      board.giveBack(seat);
      if (done) return true;
    }
    return false;
  };
  descend(0, 0);

  if (best !== undefined) {
    return {
      ok: true,
      seats: new Map(best.seats.map(({ seat, eligible }) => [seat.member.id, { host: seat.square.host, cpus: seat.cpus, eligible }])),
    };
  }
  // The board as it was where the search came farthest, for the sentence.
  for (const seat of stuck?.seats ?? []) board.take(seat.member, seat.square);
  return { ok: false, stuck: plans[stuck?.depth ?? 0]!.member, board };
}

interface Plan {
  member: MemberToPlace;
  /** Squares that pass everything before anything of this request is placed. */
  eligible: Square[];
  changing: Filter[];
  /** Squares that keep all wishes. */
  wished: Set<Square> | undefined;
}

function planFor(member: MemberToPlace, board: Board): Plan {
  const filters = filtersOf(member);
  const eligible = board.squares.filter((square) => filters.every((filter) => filter.passes(square)));
  const soft = (member.constraints ?? []).filter((constraint) => constraint.soft);
  const wished = soft.length === 0 ? undefined : new Set(eligible.filter(({ host }) => soft.every((wish) => satisfies(host, wish))));
  return { member, eligible, changing: filters.filter((filter) => filter.changes), wished };
}

/** How much a member shares with those of its service that are placed: pairs in one group, one rack, one host; then broken wishes. */
function priceOf({ member, wished }: Plan, square: Square, board: Board): number {
  const { service } = member;
  const inGroup = board.groups.get(placeKey(service, square.group)) ?? 0;
  const inRack = board.racks.get(placeKey(service, square.rack)) ?? 0;
  const onHost = square.services.get(service) ?? 0;
  return inGroup * GROUP + inRack * RACK + onHost * HOST + (wished !== undefined && !wished.has(square) ? 1 : 0);
}

/** No placement can cost less: each service spread evenly over the groups (racks, hosts) that any of its members may use. */
function leastCost(plans: readonly Plan[], board: Board): number {
  let cost = 0;
  for (const service of new Set(plans.map((plan) => plan.member.service))) {
    const mine = plans.filter((plan) => plan.member.service === service);
    const squares = [...new Set(mine.flatMap((plan) => plan.eligible))];
    const level = (keys: string[], counts: (key: string) => number) => fewestPairs([...new Set(keys)].map(counts), mine.length);
    cost +=
      GROUP *
      level(
        squares.map(({ group }) => group),
        (group) => board.groups.get(placeKey(service, group)) ?? 0,
      );
    cost +=
      RACK *
      level(
        squares.map(({ rack }) => rack),
        (rack) => board.racks.get(placeKey(service, rack)) ?? 0,
      );
    cost +=
      HOST *
      fewestPairs(
        squares.map(({ services }) => services.get(service) ?? 0),
        mine.length,
      );
  }
  return cost + plans.filter((plan) => plan.wished?.size === 0).length;
}

/** New pairs when `more` members join places that hold `counts` already, each time the emptiest one. */
function fewestPairs(counts: number[], more: number): number {
  let pairs = 0;
  for (let i = 0; i < more; i += 1) {
    let least = 0;
    for (let at = 1; at < counts.length; at += 1) if (counts[at]! < counts[least]!) least = at;
    pairs += counts[least]!;
    counts[least]! += 1;
  }
  return pairs;
}

/** Among hosts of one price: smaller is better. */
function rankOf(member: MemberToPlace, square: Square, strategy: Strategy, seed: number): number {
  if (strategy === 'random') return hash(`${seed} ${member.id} ${square.host.spec.id}`);
  const full = fullness(member, square);
  return strategy === 'spread' ? full : -full;
}

/** Share of the scarcest resource that is taken once the member is there, and the number of members for those that ask for nothing. */
function fullness(member: MemberToPlace, square: Square): number {
  const capacity = capacityOf(square.host.facts);
  const share = (free: number, want: number, all: number) => (all === 0 ? 0 : 1 - (free - want) / all);
  const most = Math.max(
    share(square.freeMilliCpus, milliCpus(member.cpus), milliCpus(capacity.cpus)),
    share(square.freeMemory, member.memoryBytes, capacity.memoryBytes),
    share(square.freeDisk, member.diskBytes, capacity.diskBytes),
  );
  let count = 0;
  for (const each of square.services.values()) count += each;
  return most + count * 1e-6;
}

function size(member: MemberToPlace): number {
  return member.memoryBytes / 2 ** 30 + member.cpus + member.diskBytes / 2 ** 34;
}

function byName(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** FNV-1a, 32 bits, with a final mix: spreads names that differ in one digit. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
