import type { LeadRecord, MoveOrder } from '#xcache/schema.ts';
import { decide, doubtOf } from './decide.ts';
import { masterGone } from './situation.ts';
import { BUDGETS, type Guards, type LeadBody, type Local, type Records, type Step } from './types.ts';

/**
 * A world of members that decide by {@link decide}, in virtual time: engines that replicate late, sidecars that turn at their own pace, a Consul that can be cut off from each.
 * A client writes to every engine all the time and remembers what was taken. One seed is one history.
 */
export interface Fault {
  at: number;
  until: number;
  /** `stop`: asked to end, and started again when it is over. */
  kind: 'kill' | 'freeze' | 'hang' | 'sidecar' | 'consul' | 'isolate' | 'link' | 'consulDown' | 'restartAll' | 'stop';
  member: number;
}

export interface SimOptions {
  seed: number;
  members: number;
  minReplicas: number;
  faults: readonly Fault[];
  /** Times of ordered changes of the master. */
  moves?: readonly number[];
  untilMs: number;
  guards?: Guards;
  /** What is in memory survives a restart. */
  persistent?: boolean;
  /** A busy machine: now and then a step takes effect up to two seconds late, or is decided by what was seen a turn ago. */
  busy?: boolean;
}

export interface Taken {
  id: number;
  at: number;
  by: string;
  epoch: number;
}

export interface SimResult {
  /** Writes that were acknowledged to the client, in their order. */
  taken: Taken[];
  /** Of them those that are not in the master's data at the end. */
  lost: Taken[];
  /** Moments at which a member took a write after another one had, in a later epoch. */
  overlaps: string[];
  /** Longest time without a write that was taken, in milliseconds. */
  longestGapMs: number;
  /** Empty when all is as it should be at the end. */
  unsettled: string[];
  epochs: number;
  trace: string[];
}

const TICK = 50;
const TURN = 400;
const PET = 3000;
const FULL_COPY = 600;

interface Engine {
  alive: boolean;
  run: number;
  readyAt: number;
  frozenUntil: number;
  role: 'master' | 'replica';
  of: number | undefined;
  linkUp: boolean;
  linkFrom: number;
  /** When it last heard its master. */
  heardAt: number;
  fenced: boolean;
  min: number;
  openEpoch: number;
  data: number[];
  /** Member → time of its last acknowledgement. */
  acks: Map<number, number>;
  failover: { to: number; until: number } | undefined;
}

interface Sidecar {
  frozenUntil: number;
  turnAt: number;
  petAt: number;
  records: Records | undefined;
  readAt: number;
  epoch: number;
  seen: Map<number, { at: number; what: NonNullable<Local['peers'][string]['seen']> }>;
  beats: Map<number, { beat: number; at: number }>;
  stateKey: string;
  stateAt: number;
  goneSince: number | undefined;
  tried: number;
  pending: { at: number; step: Step } | undefined;
  doubt: Local['doubt'];
  /** What was seen a turn ago. */
  before: Local | undefined;
  /** It was asked to end. */
  stop: { at: number; until: number } | undefined;
}

export function simulate(options: SimOptions): SimResult {
  const { members: count, minReplicas, faults, untilMs, moves = [], guards } = options;
  const random = generator(options.seed);
  const ids = Array.from({ length: count }, (_, index) => `m-${index + 1}`);
  const indexOf = (id: string) => ids.indexOf(id);
  const trace: string[] = [];
  let now = 0;
  let runs = 0;
  let consulIndex = 1;
  let lead: { value: LeadRecord; index: number } | undefined;
  let birthDone = false;
  let move: { value: MoveOrder; index: number } | undefined;
  const beats = ids.map(() => ({ beat: 0, writtenAt: 0, sessionUntil: 0 }));
  const engines: Engine[] = ids.map(() => deadEngine());
  const sidecars: Sidecar[] = ids.map((_, index) => freshSidecar(index * 130));
  const taken: Taken[] = [];
  const overlaps: string[] = [];
  let writeId = 0;
  let lastTakenAt = 0;
  let longestGapMs = 0;
  let newestEpoch = 0;

  let current: Fault[] = [];
  const active = (kind: Fault['kind'], member?: number) =>
    current.some((fault) => fault.kind === kind && (member === undefined || fault.member === member));
  const engineAnswers = (index: number) => {
    const engine = engines[index]!;
    return engine.alive && now >= engine.readyAt && now >= engine.frozenUntil;
  };
  const connected = (a: number, b: number) =>
    a === b || !(active('isolate', a) || active('isolate', b) || active('link', a) || active('link', b));
  const reachesConsul = (index: number) => !(active('consulDown') || active('consul', index) || active('isolate', index));

  for (; now < untilMs; now += TICK) {
    current = faults.filter((fault) => now >= fault.at && now < fault.until);
    for (const fault of faults) if (now >= fault.at && now < fault.at + TICK) begin(fault);
    for (const at of moves)
      if (now >= at && now < at + TICK) {
        consulIndex += 1;
        move = { value: { v: 1, id: `move-${at}`, state: 'asked' }, index: consulIndex };
      }
    for (let index = 0; index < count; index += 1) replicate(index);
    for (let index = 0; index < count; index += 1) failover(index);
    for (let index = 0; index < count; index += 1) supervise(index);
    for (let index = 0; index < count; index += 1) write(index);
    for (let index = 0; index < count; index += 1) turn(index);
  }
  return result();

  function begin(fault: Fault): void {
    trace.push(`${now} fault ${fault.kind} ${ids[fault.member]} until ${fault.until}`);
    const engine = engines[fault.member]!;
    const sidecar = sidecars[fault.member]!;
    if (fault.kind === 'kill') killEngine(fault.member);
    if (fault.kind === 'hang') engine.frozenUntil = fault.until;
    if (fault.kind === 'sidecar') sidecar.frozenUntil = fault.until;
    if (fault.kind === 'stop') sidecar.stop = { at: now, until: fault.until };
    if (fault.kind === 'freeze') {
      engine.frozenUntil = fault.until;
      sidecar.frozenUntil = fault.until;
    }
    if (fault.kind === 'restartAll')
      for (let index = 0; index < count; index += 1) {
        killEngine(index);
        sidecars[index] = { ...freshSidecar(now + 300 + Math.floor(random() * 2000)), epoch: sidecars[index]!.epoch };
        beats[index]!.sessionUntil = now + 1000;
      }
  }

  function killEngine(index: number): void {
    const engine = engines[index]!;
    // Without a file on disk nothing is left of its data; with one it is what a second ago was.
    engine.data = options.persistent === true ? engine.data : [];
    Object.assign(engine, {
      alive: false,
      frozenUntil: 0,
      linkUp: false,
      of: undefined,
      role: 'master',
      fenced: true,
      failover: undefined,
    });
    engine.acks.clear();
  }

  function replicate(index: number): void {
    const engine = engines[index]!;
    if (!engineAnswers(index) || engine.role !== 'replica' || engine.of === undefined) {
      if (engine.role !== 'replica') engine.linkUp = false;
      return;
    }
    const master = engines[engine.of]!;
    if (!master.alive || !connected(index, engine.of) || (master.role === 'replica' && !master.linkUp) || master.of === index) {
      engine.linkUp = false;
      if (!master.alive || !connected(index, engine.of)) dropAck(engine.of, index);
      return;
    }
    if (!engineAnswers(engine.of)) {
      // A frozen master says nothing; the link counts as up until the engine's own timeout, its data do not grow.
      return;
    }
    if (!engine.linkUp) {
      const isPrefix = engine.data.length <= master.data.length && engine.data.every((id, at) => master.data[at] === id);
      if (engine.linkFrom === 0) engine.linkFrom = now + (isPrefix && engine.data.length > 0 ? TICK : FULL_COPY);
      if (now < engine.linkFrom) return;
      engine.data = [...master.data];
      engine.linkUp = true;
      engine.linkFrom = 0;
    }
    engine.heardAt = now;
    // Now and then a packet is late.
    if (random() < 0.85) {
      for (let at = engine.data.length; at < master.data.length; at += 1) engine.data.push(master.data[at]!);
      if (random() < 0.5) master.acks.set(index, now);
      else if (!master.acks.has(index)) master.acks.set(index, now);
    }
  }

  function dropAck(master: number, replica: number): void {
    // A closed connection is noticed at once where packets still flow; a cut one only by time.
    if (connected(master, replica)) engines[master]!.acks.delete(replica);
  }

  function failover(index: number): void {
    const engine = engines[index]!;
    if (engine.failover === undefined || !engineAnswers(index)) return;
    const target = engines[engine.failover.to]!;
    const isSynced = target.linkUp && target.of === index && target.data.length === engine.data.length;
    if (isSynced && engineAnswers(engine.failover.to) && connected(index, engine.failover.to)) {
      target.role = 'master';
      target.of = undefined;
      target.linkUp = false;
      target.acks.clear();
      Object.assign(engine, { role: 'replica', of: engine.failover.to, linkUp: false, linkFrom: 0, fenced: true, failover: undefined });
      engine.acks.clear();
      trace.push(`${now} FAILOVER ${ids[index]} done`);
    } else if (now >= engine.failover.until) engine.failover = undefined;
  }

  /** The engine counts whole seconds, and looks once a second. */
  function goodReplicas(index: number): number {
    return [...engines[index]!.acks.values()].filter((at) => now - at < 3900).length;
  }

  function write(index: number): void {
    const engine = engines[index]!;
    if (!engineAnswers(index) || engine.role !== 'master' || engine.fenced || engine.failover !== undefined) return;
    if (goodReplicas(index) < engine.min) return;
    writeId += 1;
    engine.data.push(writeId);
    taken.push({ id: writeId, at: now, by: ids[index]!, epoch: engine.openEpoch });
    if (engine.openEpoch < newestEpoch) overlaps.push(`${now} ${ids[index]} of epoch ${engine.openEpoch} beside epoch ${newestEpoch}`);
    newestEpoch = Math.max(newestEpoch, engine.openEpoch);
    longestGapMs = Math.max(longestGapMs, now - lastTakenAt);
    lastTakenAt = now;
  }

  function supervise(index: number): void {
    const engine = engines[index]!;
    const sidecar = sidecars[index]!;
    // The first thing that a frozen container does when it wakes: nobody has said that all is well.
    if (engine.alive && now - sidecar.petAt >= PET && !active('freeze', index)) {
      trace.push(`${now} supervisor kills ${ids[index]}`);
      killEngine(index);
      sidecars[index] = { ...freshSidecar(now + 300), epoch: sidecar.epoch, frozenUntil: 0 };
    }
  }

  function turn(index: number): void {
    const sidecar = sidecars[index]!;
    if (now < sidecar.frozenUntil || active('freeze', index)) return;
    if (sidecar.pending !== undefined) {
      if (now < sidecar.pending.at) return;
      execute(index, sidecar.pending.step);
      sidecar.pending = undefined;
      return;
    }
    if (now < sidecar.turnAt) return;
    sidecar.turnAt = now + TURN + Math.floor(random() * 100);
    sidecar.petAt = now;
    if (reachesConsul(index)) read(index, sidecar);
    look(index, sidecar);
    const seen = localOf(index, sidecar);
    // How old the records are is always known: their reads are timed, not looked at.
    const local =
      options.busy && sidecar.before !== undefined && random() < 0.15 ? { ...sidecar.before, consulAgeMs: seen.consulAgeMs } : seen;
    sidecar.before = seen;
    const step = decide(recordsOf(sidecar), local, BUDGETS, guards);
    if (step.do === 'wait') return;
    trace.push(`${now} ${ids[index]} ${step.rule} ${step.do}: ${step.reason}`);
    sidecar.pending = { at: now + lateness(), step };
    if (sidecar.pending.at === now) {
      sidecar.pending = undefined;
      execute(index, step);
    }
    sidecar.turnAt = now + TICK;
  }

  /** Some steps take effect late. */
  function lateness(): number {
    if (options.busy) return random() < 0.1 ? TICK * Math.floor(random() * 40) : 0;
    return random() < 0.2 ? 100 : 0;
  }

  function read(index: number, sidecar: Sidecar): void {
    const own = beats[index]!;
    own.sessionUntil = now + 6000;
    const leads = lead !== undefined && lead.value.master.id === ids[index];
    if (now - own.writtenAt >= (leads ? 1000 : 5000)) {
      own.beat += 1;
      own.writtenAt = now;
    }
    for (let other = 0; other < count; other += 1) {
      const known = sidecar.beats.get(other);
      // What nobody could see while Consul was away is no silence of the other's.
      if (known === undefined || known.beat !== beats[other]!.beat || now - sidecar.readAt > 1000)
        sidecar.beats.set(other, { beat: beats[other]!.beat, at: now });
    }
    sidecar.readAt = now;
    sidecar.records = {
      lead: lead === undefined ? undefined : { ...lead },
      birth: { value: { v: 1, member: ids[0]!, done: birthDone }, index: 1 },
      move: move?.value.state === 'asked' ? { ...move } : undefined,
      members: ids,
      minReplicas,
      present: ids.filter((_, other) => beats[other]!.sessionUntil > now),
      unheard: ids.filter((_, other) => beats[other]!.sessionUntil <= now || knownRev(sidecars[other]!) < (lead?.value.rev ?? 0)),
      leaving: ids.filter((_, other) => beats[other]!.sessionUntil > now && sidecars[other]!.stop !== undefined),
      beatAgeMs: {},
      paused: false,
    };
    if (lead !== undefined) sidecar.epoch = Math.max(sidecar.epoch, lead.value.epoch);
  }

  function recordsOf(sidecar: Sidecar): Records | undefined {
    if (sidecar.records === undefined) return undefined;
    const beatAgeMs = Object.fromEntries([...sidecar.beats].map(([other, { at }]) => [ids[other]!, sidecar.readAt - at]));
    return { ...sidecar.records, beatAgeMs };
  }

  function look(index: number, sidecar: Sidecar): void {
    for (let other = 0; other < count; other += 1) {
      if (other === index || !engineAnswers(other) || !connected(index, other)) continue;
      const { run, role, data, linkUp, heardAt, fenced, min } = engines[other]!;
      sidecar.seen.set(other, {
        at: now,
        what: {
          run: `r${run}`,
          role,
          offset: data.length,
          linkUp: linkUp && now - heardAt < 2000,
          fenced,
          minReplicas: min,
          empty: data.length === 0,
        },
      });
    }
  }

  function localOf(index: number, sidecar: Sidecar): Local {
    const engine = engines[index]!;
    const value = sidecar.records?.lead?.value;
    const key = value === undefined ? '' : `${value.state} ${value.epoch} ${value.master.id}`;
    if (key !== sidecar.stateKey) Object.assign(sidecar, { stateKey: key, stateAt: now });
    const peers = Object.fromEntries(
      [...sidecar.seen].map(([other, { at, what }]) => [ids[other]!, { silentMs: now === at ? 0 : now - at, seen: what }]),
    );
    const local: Local = {
      me: ids[index]!,
      epoch: sidecar.epoch,
      engine: !engine.alive
        ? { state: 'down' }
        : now < engine.readyAt
          ? { state: 'starting' }
          : now < engine.frozenUntil
            ? { state: 'unreachable', ageMs: now - (faults.find((f) => f.member === index && f.until === engine.frozenUntil)?.at ?? now) }
            : {
                state: 'running',
                run: `r${engine.run}`,
                role: engine.role,
                following: engine.of === undefined ? undefined : ids[engine.of],
                linkUp: engine.linkUp && now - engine.heardAt < 2000,
                empty: engine.data.length === 0,
                offset: engine.data.length,
                fenced: engine.fenced,
                minReplicas: engine.min,
                replicas: [...engine.acks].map(([other, at]) => ({
                  id: ids[other]!,
                  ackMs: Math.ceil((now - at) / 1000) * 1000,
                  offset: engines[other]!.data.length,
                })),
                failingOver: engine.failover !== undefined,
              },
      consulAgeMs: sidecar.records === undefined ? 1e9 : now - sidecar.readAt,
      peers,
      hostDead: false,
      stateAgeMs: now - sidecar.stateAt,
      goneAgeMs: 0,
      handoverTriedRev: sidecar.tried,
      endpointRev: knownRev(sidecar),
      doubt: sidecar.doubt,
      stopping: sidecar.stop === undefined ? undefined : { ageMs: now - sidecar.stop.at },
    };
    const records = recordsOf(sidecar);
    const isGone =
      records?.lead !== undefined &&
      local.engine.state === 'running' &&
      records.lead.value.master.id !== local.me &&
      masterGone({
        me: local.me,
        records,
        lead: records.lead.value,
        at: 0,
        local,
        engine: local.engine,
        budgets: BUDGETS,
        guards: guards ?? ALL,
      });
    sidecar.goneSince = isGone ? (sidecar.goneSince ?? now) : undefined;
    local.goneAgeMs = sidecar.goneSince === undefined ? 0 : now - sidecar.goneSince;
    return local;
  }

  function execute(index: number, step: Step): void {
    const engine = engines[index]!;
    const sidecar = sidecars[index]!;
    switch (step.do) {
      case 'start':
        runs += 1;
        // It begins as a replica of nobody, and as such gives nobody a copy (engine/files.ts).
        Object.assign(engine, { ...deadEngine(), role: 'replica', data: engine.data, alive: true, run: runs, readyAt: now + 200 });
        return;
      case 'kill':
        killEngine(index);
        return;
      case 'leave':
        leave(index, sidecar);
        return;
      case 'write':
        sidecar.doubt = doubtOf(step);
        if (reachesConsul(index)) writeLead(step.next, step.at, step.birth);
        return;
      case 'move':
        if (reachesConsul(index) && move?.index === step.at) {
          consulIndex += 1;
          move = {
            value: { ...move.value, state: step.state, ...(step.target === undefined ? {} : { target: step.target }) },
            index: consulIndex,
          };
        }
        return;
      case 'handover':
        sidecar.tried = sidecar.records?.lead?.value.rev ?? 0;
        if (engineAnswers(index) && engine.role === 'master') engine.failover = { to: indexOf(step.target), until: now + 3000 };
        return;
      default:
        if (engineAnswers(index)) onEngine(engine, sidecar, step);
    }
  }

  /** Its engine's connections are closed, and its session is given back. */
  function leave(index: number, sidecar: Sidecar): void {
    killEngine(index);
    for (let other = 0; other < count; other += 1) dropAck(other, index);
    beats[index]!.sessionUntil = now;
    sidecars[index] = { ...freshSidecar(Math.max(now, sidecar.stop?.until ?? 0) + 300), epoch: sidecar.epoch };
  }

  function onEngine(engine: Engine, sidecar: Sidecar, step: Step): void {
    if (step.do === 'fence') engine.fenced = true;
    if (step.do === 'open')
      Object.assign(engine, { fenced: false, min: step.minReplicas, openEpoch: sidecar.records?.lead?.value.epoch ?? 0 });
    if (step.do === 'detach') Object.assign(engine, { role: 'master', of: undefined, linkUp: false, fenced: true });
    if (step.do === 'follow') {
      const of = indexOf(step.member);
      if (engine.of !== of || engine.role !== 'replica') Object.assign(engine, { role: 'replica', of, linkUp: false, linkFrom: 0 });
      engine.acks.clear();
    }
    if (step.do === 'detach' || step.do === 'follow')
      for (const other of engines)
        if (other !== engine && other.of !== engines.indexOf(engine)) dropAck(engines.indexOf(other), engines.indexOf(engine));
  }

  function writeLead(next: LeadBody, at: number, birth: number | undefined): void {
    if ((lead?.index ?? 0) !== at || (birth !== undefined && birthDone)) return;
    consulIndex += 1;
    birthDone = true;
    lead = { value: { v: 1, ...next, rev: (lead?.value.rev ?? 0) + 1, nonce: String(consulIndex) }, index: consulIndex };
  }

  function result(): SimResult {
    const unsettled: string[] = [];
    const open = engines.flatMap((engine, index) => (engine.alive && engine.role === 'master' && !engine.fenced ? [index] : []));
    const leader = lead === undefined ? -1 : indexOf(lead.value.master.id);
    if (open.length !== 1 || open[0] !== leader)
      unsettled.push(`open: ${open.map((index) => ids[index]).join(' ')}, the record names ${ids[leader]}`);
    if (lead?.value.state !== 'open') unsettled.push(`the record is ${lead?.value.state}`);
    if (lead !== undefined && lead.value.insync.length !== count - 1)
      unsettled.push(`in sync: ${lead.value.insync.map(({ id }) => id).join(' ')}`);
    const held = new Set(leader < 0 ? [] : engines[leader]!.data);
    if (now - lastTakenAt > 1000) unsettled.push('no write is taken');
    return {
      taken,
      lost: taken.filter(({ id }) => !held.has(id)),
      overlaps,
      longestGapMs,
      unsettled,
      epochs: lead?.value.epoch ?? 0,
      trace,
    };
  }

  function deadEngine(): Engine {
    return {
      ...{
        alive: false,
        run: 0,
        readyAt: 0,
        frozenUntil: 0,
        role: 'master' as const,
        of: undefined,
        linkUp: false,
        linkFrom: 0,
        heardAt: 0,
        fenced: true,
        min: 0,
        openEpoch: 0,
      },
      ...{ data: [], acks: new Map<number, number>(), failover: undefined },
    };
  }

  function freshSidecar(turnAt: number): Sidecar {
    return {
      ...{
        frozenUntil: 0,
        turnAt,
        petAt: turnAt,
        records: undefined,
        readAt: -1e9,
        epoch: 0,
        seen: new Map(),
        beats: new Map(),
        stateKey: '',
        stateAt: turnAt,
      },
      ...{ goneSince: undefined, tried: 0, pending: undefined, doubt: undefined, before: undefined, stop: undefined },
    };
  }
}

const ALL: Guards = { lease: true, waitForFence: true, runs: true, insyncOnly: true };

/** Small and good enough for schedules (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function knownRev({ records }: Sidecar): number {
  return records?.lead?.value.rev ?? 0;
}
