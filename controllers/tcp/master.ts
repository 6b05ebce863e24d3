import { AppError, hasCode } from '#core/errors.ts';
import { exchange } from '#core/exchange.ts';
import { type Processes, parseProc, parseSessions, parseStat, type Session, type StatRow } from '#tcp/parse.ts';
import { assertOneCommand } from '#tcp/runtime.ts';

/**
 * A client of the socket of HAProxy's master process (`haproxy -W -S <path>`, management manual §9.4). The master reloads, and forwards commands to
 * workers by pid: the only way to reach a replaced worker, whose connections go on after a reload.
 */
export interface Master {
  /** @throws AppError `unavailable` when no master runs, `engine`, `timeout` */
  processes(): Promise<Processes>;
  /**
   * Starts a worker with the file as it is now; the answer comes when it serves or has failed, and a failed one leaves the old worker serving.
   *
   * @throws AppError `unavailable`, `engine`, `timeout`: whether it was reloaded is then unknown
   */
  reload(): Promise<ReloadAnswer>;
  /** Servers' counters of a replaced worker; empty when it has ended. */
  stat(pid: number): Promise<StatRow[]>;
  sessions(pid: number): Promise<Session[]>;
  /** Ends connections of a replaced worker by their ids. */
  shutdownSessions(pid: number, ids: readonly string[]): Promise<void>;
}

export interface ReloadAnswer {
  ok: boolean;
  /** What HAProxy said while it read the file. */
  output: string;
}

/** HAProxy tries for two seconds to bind a port that is taken before it gives up. */
const RELOAD_TIMEOUT_MS = 30_000;
/** A worker that has said nothing for so long is looked for among those that live. */
const LOOK_MS = 1000;
/** A line of the socket must fit in HAProxy's buffer of 16 KB; a command takes about 50 bytes. */
const COMMANDS_PER_LINE = 200;

export function createMaster({ socketPath, timeoutMs = 5000 }: { socketPath: string; timeoutMs?: number }): Master {
  const target = { socketPath, who: 'HAProxy' };
  const processes = async () => parseProc(await exchange(target, 'show proc;quit\n', timeoutMs));

  /** Commands that may be said twice. A worker that ends while it is asked leaves the master without an answer for ever (seen with HAProxy 3.0): then there is none, and it is gone. */
  async function inWorker(pid: number, commands: readonly string[]): Promise<string> {
    const words = commands.map((command) => {
      assertOneCommand(command);
      return `@!${pid} ${command}`;
    });
    const request = `${words.join(';')};quit\n`;
    try {
      return await exchange(target, request, Math.min(LOOK_MS, timeoutMs));
    } catch (error) {
      if (!hasCode(error, 'timeout')) throw error;
      if (!(await processes()).oldWorkers.includes(pid)) return '';
      return await exchange(target, request, timeoutMs);
    }
  }

  return {
    processes,

    async reload() {
      const output = await exchange(target, 'reload\n', RELOAD_TIMEOUT_MS);
      const match = /^Success=([01])\n(?:--\n)?/.exec(output);
      if (match === null) throw new AppError('engine', `HAProxy's master did not say how the reload went: ${output.slice(0, 200)}`);
      return { ok: match[1] === '1', output: output.slice(match[0].length).trim() };
    },

    async stat(pid) {
      return parseStat(await inWorker(pid, ['show stat -1 4 -1']));
    },

    async sessions(pid) {
      return parseSessions(await inWorker(pid, ['show sess']));
    },

    async shutdownSessions(pid, ids) {
      for (let start = 0; start < ids.length; start += COMMANDS_PER_LINE) {
        const commands = ids.slice(start, start + COMMANDS_PER_LINE).map((id) => `shutdown session ${id}`);
        await inWorker(pid, commands);
      }
    },
  };
}

/** True for an error that says that no HAProxy runs. */
export function isDown(error: unknown): boolean {
  return hasCode(error, 'unavailable');
}
