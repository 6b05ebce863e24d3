import { GUARDS, type Guards, type Memory, type Outcome, type Step } from '#xdb/protocol/types.ts';

/** What is remembered when a sidecar or an engine has just started. */
export const forgetful = (instance?: string): Memory => ({
  instance,
  adopted: false,
  adoptRefused: false,
  noneIndex: undefined,
  back: undefined,
  stoppedReceiving: undefined,
  forgotten: undefined,
  withdrawn: undefined,
  compared: undefined,
  usersKilled: undefined,
  blockRefused: undefined,
  lockRefused: false,
});

/** What a memory is worth for this instance of the engine: that of another one is worth nothing (A2). */
export const memoryOf = (memory: Memory, instance: string | undefined): Memory =>
  memory.instance === instance ? memory : forgetful(instance);

/**
 * Pure: the memory after a step. Whoever executes steps (the sidecar, the model) calls this with what came of each, and takes nothing else for remembered.
 *
 * - A command with an unknown end may still run in the engine: nothing is known of this instance any more, and A1 comes first again (A2).
 * - A write with an unknown outcome is neither done nor undone: the flow that needed it is over, the next turn reads the record (A3, A4).
 *
 * @param instance of the engine that the step was decided for, undefined when it was not running
 */
export function after(memory: Memory, step: Step, outcome: Outcome, instance: string | undefined, guards: Guards = GUARDS): Memory {
  const now = memoryOf(memory, instance);
  switch (step.do) {
    case 'publish':
      return { ...now, withdrawn: undefined };
    case 'wait':
    case 'move':
    case 'mark_master':
      return now;
    case 'take_lock':
      return { ...now, lockRefused: outcome.is !== 'done' };
    case 'write':
      return afterWrite(now, step, outcome, guards);
    case 'initialise':
    case 'start':
    case 'kill':
    case 'wipe':
    case 'clone':
    case 'leave':
      return forgetful();
    default:
      if (outcome.is === 'unknown') return forgetful(instance);
      return outcome.is === 'done' ? afterCommand(now, step, outcome) : afterRefusal(now, step);
  }
}

function afterWrite(memory: Memory, step: Extract<Step, { do: 'write' }>, outcome: Outcome, guards: Guards): Memory {
  const confirmed = outcome.is === 'done' ? outcome.index : undefined;
  const next: Memory = { ...memory, noneIndex: undefined, back: undefined, withdrawn: undefined };
  const { cand } = step.write.next;
  const { checkData, at } = step.write;
  switch (step.rule) {
    case 'F1':
    case 'P5':
    case 'birth':
      if (outcome.is === 'unknown' && !guards.unknownIsNotDone) return { ...next, noneIndex: at };
      return { ...next, noneIndex: confirmed };
    case 'R1':
      return { ...next, withdrawn: confirmed };
    case 'B1':
      if (confirmed === undefined || cand === null || checkData === undefined) return next;
      return { ...next, back: { candidate: cand, candidateIndex: checkData.index, casIndex: confirmed, g: undefined } };
    default:
      return next;
  }
}

function afterCommand(memory: Memory, step: Step, outcome: Extract<Outcome, { is: 'done' }>): Memory {
  switch (step.do) {
    case 'adopt':
      return { ...forgetful(memory.instance), adopted: true };
    case 'sample':
      return memory.back === undefined ? memory : { ...memory, back: { ...memory.back, g: outcome.g } };
    case 'stop_receiving':
      return step.rule === 'P2' ? { ...memory, stoppedReceiving: step.epoch } : memory;
    case 'forget_master':
      return { ...memory, forgotten: step.epoch };
    case 'compare':
      if (outcome.compared === undefined) return memory;
      return { ...memory, compared: { gen: step.gen, epoch: step.epoch, result: outcome.compared } };
    case 'kill_users':
      return { ...memory, usersKilled: step.order };
    case 'read_only':
      // What was urgent is done; the lock is asked for again.
      return { ...memory, lockRefused: false };
    default:
      return memory;
  }
}

function afterRefusal(memory: Memory, step: Step): Memory {
  if (step.do === 'adopt') return { ...memory, adoptRefused: true };
  if (step.do === 'read_only' && step.order !== undefined) return { ...memory, blockRefused: step.order };
  // Who was compared with may be another by now.
  if (step.do === 'follow') return { ...memory, compared: undefined };
  return memory;
}
