import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { LeaderWatch } from '#member/watch-leader.ts';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import { decide } from '#xdb/protocol/decide.ts';
import { after, forgetful } from '#xdb/protocol/memory.ts';
import type { Budgets, Guards, Local, Memory, Outcome, Step } from '#xdb/protocol/types.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { Tools } from './execute/context.ts';
import { execute } from './execute/execute.ts';
import type { createKnownAddresses } from './known-addresses.ts';
import type { SidecarMetrics } from './metrics.ts';
import type { Observer } from './observe.ts';
import type { Positions } from './positions.ts';
import { type RecordsView, readRecords, rememberParsed } from './records.ts';

/** What a turn saw and decided, for everything that follows from it. */
export interface Turn {
  view: RecordsView | undefined;
  local: Local;
  facts: EngineFacts | undefined;
  step: Step;
}

export interface TurnOptions {
  tools: Tools;
  observer: Observer;
  positions: Positions;
  watch: LeaderWatch;
  diskGuard: DiskGuard;
  addresses: ReturnType<typeof createKnownAddresses>;
  metrics: SidecarMetrics;
  budgets: Budgets;
  guards: Guards;
  log: Logger;
  /** Before the step is done: what it says goes out, and the endpoint is led. */
  onDecided(turn: Turn): void;
}

/** The engine is killed when the sidecar has been silent for so long, in milliseconds. Each part of a turn is shorter. */
const PET_MS = 5000;
const PET_EVERY_MS = 1000;
/** Ends a long step when the record it rests on has changed: looked at this often, in milliseconds. */
const LONG_LOOK_MS = 1000;

export interface Turner {
  /** Observe, decide, do one step. @returns whether there is more to be done at once */
  turn(): Promise<{ step: Step; outcome: Outcome | undefined }>;
  consulReachable(): boolean;
}

export function createTurner(options: TurnOptions): Turner {
  const { tools, observer, positions, watch, diskGuard, addresses, metrics, budgets, guards, log } = options;
  const { config, supervisor, link, disk, session, consul } = tools;
  const bornAt = performance.now();
  const parse = rememberParsed();
  let view: RecordsView | undefined;
  let heardAt: number | undefined;
  let memory: Memory = forgetful();
  let complaint = '';

  /** H10: what was read before stays known, with its age. */
  async function look(): Promise<void> {
    const asked = performance.now();
    try {
      const read = await readRecords(consul, config.db, config.member, parse);
      const seen = read.protocol.sync?.value;
      // K1, before anything is decided by it. Where that cannot be written the records count as not read: what protects goes on by the old ones.
      if (seen !== undefined) await disk.raise(seen);
      view = read;
      heardAt = asked;
      complaint = '';
    } catch (error) {
      const text = messageOf(error);
      if (text !== complaint) log.warn({ err: text }, 'the records cannot be read');
      complaint = text;
      return;
    }
    addresses.learn(view);
  }

  async function turn() {
    const began = performance.now();
    supervisor.pet(PET_MS);
    const [engineLook] = await Promise.all([link.look(supervisor.engine() ?? { state: 'none' }), look()]);
    supervisor.pet(PET_MS);
    const local = await observer.localOf({
      view,
      consulAgeMs: performance.now() - (heardAt ?? bornAt),
      look: engineLook,
      disk: { ...disk.now(), gen: (await hasData()) ? disk.now().gen : null },
      memory,
      positions: positions.fresh(),
      leader: { dead: watch.dead(), silent: watch.silent() },
      session: session.id() !== undefined,
      diskUse: diskGuard.use(),
    });
    const step = decide(view?.protocol, local, budgets, guards);
    const facts = engineLook.state === 'running' ? engineLook.facts : undefined;
    metrics.looked(performance.now() - began);
    options.onDecided({ view, local, facts, step });
    if (step.do === 'wait') return { step, outcome: undefined };
    const outcome = await doStep(step, facts?.instance);
    return { step, outcome };
  }

  async function doStep(step: Step, instance: string | undefined): Promise<Outcome> {
    const began = performance.now();
    const stop = new AbortController();
    supervisor.pet(PET_MS);
    // A step is bounded in time by itself; until then the sidecar is as well as it can be.
    const petting = setInterval(() => supervisor.pet(PET_MS), PET_EVERY_MS);
    const looking = step.do === 'clone' || step.do === 'initialise' ? setInterval(() => void lookAgain(stop), LONG_LOOK_MS) : undefined;
    try {
      const outcome = await execute(step, tools, {
        view,
        instance,
        addressOf: (member) => addresses.of(member)?.address,
        signal: stop.signal,
      });
      memory = after(memory, step, outcome, instance, guards);
      if (step.do === 'write' && step.rule === 'F1') observer.fellBack();
      metrics.stepped(step, outcome);
      const level = outcome.is === 'done' ? 'info' : 'warn';
      log[level](
        {
          rule: step.rule,
          do: step.do,
          reason: step.reason,
          ms: Math.round(performance.now() - began),
          outcome: outcome.is,
          why: outcome.why,
        },
        'step',
      );
      return outcome;
    } finally {
      clearInterval(petting);
      clearInterval(looking);
    }
  }

  /** A copy is of no use any more when somebody else leads; that and a restore are called off when the member is to end. */
  async function lookAgain(stop: AbortController): Promise<void> {
    const before = view?.protocol.sync?.value;
    await look();
    const now = view?.protocol.sync?.value;
    if (supervisor.term() !== undefined || now?.leader.gen !== before?.leader.gen || now?.epoch !== before?.epoch) stop.abort();
  }

  /** S4: a generation without its data is none. Looked at only where no engine runs on them. */
  async function hasData(): Promise<boolean> {
    if (disk.now().gen === null) return false;
    return supervisor.engine()?.state !== 'none' || tools.engine.hasData();
  }

  return { turn, consulReachable: () => heardAt !== undefined && performance.now() - heardAt < budgets.consulMs };
}
