import { AppError, hasCode } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { observeServers } from '#tcp/observe.ts';
import { isHeld, leavingPeers, planTable } from '#tcp/plan-table.ts';
import type { Runtime } from '#tcp/runtime.ts';
import type { TcpBackend, TcpTable } from '#tcp/schema.ts';

export interface TableProgress {
  /** Peers that left the table and go when their connections have ended. */
  leaving: { id: string; active: number }[];
  /** Why each change was made. */
  reasons: string[];
}

/** Turns that a change may take: two by its nature, the others for connections that end meanwhile. */
const MAX_TURNS = 8;

/**
 * Brings one backend of the current worker to its table and looks that it is so.
 *
 * @throws AppError `engine` when HAProxy still differs after some turns; `unavailable`, `timeout` when it does not answer
 */
export async function convergeTable(runtime: Runtime, backend: TcpBackend, table: TcpTable, log: Logger): Promise<TableProgress> {
  const reasons: string[] = [];
  let refused: string[] = [];
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    // The first turns follow at once; later ones give what is under way in HAProxy some time.
    if (turn > 2) await sleep(2 ** turn);
    try {
      const observed = await observeServers(runtime, backend.name);
      const steps = planTable(backend, table, observed);
      // What was cut and has not ended is tried once; it holds nobody up.
      if (steps.length === 0 || (turn > 0 && isHeld(table, observed, steps))) return { leaving: leavingPeers(table, observed), reasons };
      reasons.push(...steps.map((step) => step.reason));
      const commands = steps.flatMap((step) => step.commands);
      const replies = await runtime.execute(commands);
      refused = replies.flatMap((reply, index) => (reply.ok ? [] : [`it refuses ${commands[index]}: ${reply.text}`]));
    } catch (error) {
      // A conversation that broke off is like a refusal: what came of it is seen in the next turn.
      if (!hasCode(error, 'engine')) throw error;
      refused = [error.message];
    }
    if (refused.length > 0)
      log.debug({ backend: backend.name, refused: refused.slice(0, 5) }, 'HAProxy did not do all of it; looking again');
  }
  const why = refused[0] === undefined ? '' : `: ${refused[0]}`;
  throw new AppError('engine', `HAProxy does not take version ${table.version} of the table of ${backend.name}${why}`);
}
