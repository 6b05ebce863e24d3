import { AppError, hasCode } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { type Look, lookAt } from '#tcp/observe.ts';
import { isHeld, leavingPeers, planTable } from '#tcp/plan-table.ts';
import type { Reply, Runtime } from '#tcp/runtime.ts';
import type { TcpBackend, TcpTable } from '#tcp/schema.ts';

export interface TableProgress {
  /** Peers that left the table and go when their connections have ended. */
  leaving: { id: string; active: number }[];
  /** Why each change was made. */
  reasons: string[];
}

/** Turns that a change may take: three by its nature, the others for connections that end meanwhile. */
const MAX_TURNS = 9;

/**
 * Brings one backend of the current worker to its table and looks that it is so.
 *
 * @throws AppError `engine` when HAProxy still differs after some turns; `unavailable`, `timeout` when it does not answer
 */
export async function convergeTable(runtime: Runtime, backend: TcpBackend, table: TcpTable, log: Logger): Promise<TableProgress> {
  const reasons: string[] = [];
  const look = lookAt(backend.name);
  let commands: string[] = [];
  let refused: string[] = [];
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    try {
      const replies = await changeAndLook(runtime, commands, look, turn > 2 ? 2 ** turn : 0);
      refused = commands.flatMap((command, index) => (replies[index]?.ok ? [] : [`it refuses ${command}: ${replies[index]?.text}`]));
      if (refused.length > 0)
        log.debug({ backend: backend.name, refused: refused.slice(0, 5) }, 'HAProxy did not do all of it; looking again');
      const observed = look.read(replies.slice(commands.length));
      const steps = planTable(backend, table, observed);
      // What was cut and has not ended is tried once; it holds nobody up.
      if (steps.length === 0 || (turn > 0 && isHeld(table, observed, steps))) return { leaving: leavingPeers(table, observed), reasons };
      reasons.push(...steps.map((step) => step.reason));
      commands = steps.flatMap((step) => step.commands);
    } catch (error) {
      // A conversation that broke off is like a refusal: what came of it is seen in the next turn.
      if (!hasCode(error, 'engine')) throw error;
      refused = [error.message];
      commands = [];
    }
  }
  const why = refused[0] === undefined ? '' : `: ${refused[0]}`;
  throw new AppError('engine', `HAProxy does not take version ${table.version} of the table of ${backend.name}${why}`);
}

/** Changes, and what came of them: in one conversation, unless what is under way in HAProxy is to have some time between, in milliseconds. */
async function changeAndLook(runtime: Runtime, commands: readonly string[], look: Look, pauseMs: number): Promise<Reply[]> {
  if (pauseMs === 0) return await runtime.execute([...commands, ...look.commands]);
  const replies = await runtime.execute(commands);
  await sleep(pauseMs);
  return [...replies, ...(await runtime.execute(look.commands))];
}
