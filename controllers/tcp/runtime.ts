import { connect } from 'node:net';
import { AppError, messageOf, systemCode } from '#core/errors.ts';

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
    const output = await exchange(socketPath, `${lines.join('\n')}\n`, timeoutMs + waitIn(commands));
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

/**
 * Writes `request`, which has to end with `quit` or another command that closes, and reads until HAProxy closes. Our side stays open: HAProxy 3.0 throws
 * away commands that it has not read yet when it sees the end of its input (14 of 120 long exchanges failed so).
 *
 * @throws AppError `unavailable` when nobody listens, `engine` when the connection breaks, `timeout`
 */
export function exchange(socketPath: string, request: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path: socketPath });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new AppError('timeout', `HAProxy did not answer on ${socketPath} within ${timeoutMs} ms`));
    }, timeoutMs);
    const end = () => {
      clearTimeout(timer);
      socket.destroy();
    };
    socket.on('connect', () => socket.write(request));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => {
      end();
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
    socket.on('error', (cause) => {
      end();
      const nobody = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(cause) ?? '');
      reject(new AppError(nobody ? 'unavailable' : 'engine', `HAProxy cannot be asked on ${socketPath}: ${messageOf(cause)}`, { cause }));
    });
  });
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
