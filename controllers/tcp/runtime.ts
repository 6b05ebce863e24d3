import { AppError } from '#core/errors.ts';
import { exchange } from '#core/exchange.ts';

export interface Reply {
  /** False when HAProxy refused the command. */
  ok: boolean;
  /** What it said, without its severity and without the newlines at its end. */
  text: string;
}

export interface RuntimeOptions {
  socketPath: string;
  /** Longest time for one exchange, in milliseconds, beside what its commands wait themselves. */
  timeoutMs?: number;
}

/** A client of HAProxy's runtime socket (`stats socket`). */
export interface Runtime {
  /**
   * Sends commands in one go over one connection and gives one reply a command, in order. A refused command does not stop those after it.
   *
   * @throws AppError `unavailable` when nobody listens; `engine` when the connection ends early and `timeout`: what was done until then is unknown
   */
  execute(commands: readonly string[]): Promise<Reply[]>;
  /** Like {@link Runtime.execute} with one command. @throws also AppError `engine` when it is refused */
  ask(command: string): Promise<string>;
}

/**
 * Speaks the interactive mode (management manual §9.3, `prompt`): commands, one a line, may follow each other without waiting, and each answer ends with a
 * prompt on a line of its own, so that a thousand commands cost one round trip. The plain mode takes a single line of at most 16 KB. With
 * `set severity-output number` every message begins with its syslog severity: 3 (error) and below is a refusal.
 *
 * A connection is used once: after a reload an open one would still talk to the replaced worker.
 */
export function createRuntime({ socketPath, timeoutMs = 5000 }: RuntimeOptions): Runtime {
  async function execute(commands: readonly string[]): Promise<Reply[]> {
    if (commands.length === 0) return [];
    for (const command of commands) assertOneCommand(command);
    const lines = ['prompt', 'set severity-output number', ...commands, 'quit'];
    const output = await exchange({ socketPath, who: 'HAProxy' }, `${lines.join('\n')}\n`, timeoutMs + waitIn(commands));
    const replies = output.split('\n> ').slice(2);
    if (replies.length < commands.length) {
      throw new AppError(
        'unavailable',
        `HAProxy ended the connection on ${socketPath} after ${replies.length} of ${commands.length} commands`,
      );
    }
    return commands.map((_, index) => parseReply(replies[index] ?? ''));
  }

  return {
    execute,
    async ask(command) {
      const [reply] = await execute([command]);
      if (!reply?.ok) throw new AppError('engine', `HAProxy refused "${command}": ${reply?.text ?? 'no answer'}`);
      return reply.text;
    },
  };
}

/** `;` and line ends separate commands, `\` escapes and `<<` begins a payload. Everything we write is encoded before; this is the second lock. */
export function assertOneCommand(command: string): void {
  if (!/^[\x20-\x7e]+$/.test(command) || /[;\\]|<</.test(command)) {
    throw new AppError('internal', `${JSON.stringify(command)} is not one command of the runtime socket`);
  }
}

export function parseReply(raw: string): Reply {
  const text = raw.replace(/\n+$/, '');
  const match = /^\[(\d)\]: /.exec(text);
  const message = match ? text.slice(match[0].length) : text;
  // An unknown command, and one above the socket's level, is answered with the help and no severity of an error.
  const unknown = message.startsWith('Unknown command') || message.startsWith('Permission denied');
  return { ok: !unknown && (match === null || Number(match[1]) > 3), text: message };
}

function waitIn(commands: readonly string[]): number {
  let total = 0;
  for (const command of commands) total += Number(/^wait (\d+)ms /.exec(command)?.[1] ?? 0);
  return total;
}
