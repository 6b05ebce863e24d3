import type { Duplex } from 'node:stream';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';

/** A command line for the supervisor. No secret is on it. */
export interface CommandLine {
  file: string;
  args: string[];
}

/** The engine's process as the supervisor knows it. */
export type EngineProcess = { state: 'none' } | { state: 'running' | 'killed'; pid: number; startedHere: boolean };

/**
 * The member's first process, over file descriptor 3 (images/xdb/README.md): it starts and kills the engine on this sidecar's word, and kills it by itself when
 * the sidecar has not said in time that it is well.
 */
export interface Supervisor {
  /** Undefined until it has spoken. */
  engine(): EngineProcess | undefined;
  /** How the engine's process ended last. */
  lastEnd(): string | undefined;
  /** A2: nobody else starts it. @throws AppError `conflict` when it is refused, `timeout` */
  start(command: CommandLine): Promise<void>;
  /** SIGKILL. @returns when the process is gone @throws AppError `timeout` when it is not within `timeoutMs` */
  kill(timeoutMs: number): Promise<void>;
  /** The sidecar is well for so long from now. */
  pet(ms: number): void;
  /** Milliseconds that the member has until it is ended, once that was asked for. */
  term(): { ms: number; at: number } | undefined;
}

export interface SupervisorOptions {
  channel: Duplex;
  log: Logger;
  /** The engine was started, is gone, or the member is to end. */
  onEvent(): void;
  /** The supervisor is gone, so this process is to go too. */
  onGone(): void;
}

/** Longer than a pet reaches ahead (`PET_MS` in turn.ts): a supervisor that reads the request after this refuses it, so that nothing is started once nobody waits for it (A2). */
const START_TIMEOUT_MS = 6000;

export function createSupervisor({ channel, log, onEvent, onGone }: SupervisorOptions): Supervisor {
  let engine: EngineProcess | undefined;
  let lastEnd: string | undefined;
  let term: { ms: number; at: number } | undefined;
  let rest = '';
  const waiters = new Set<(line: string) => void>();

  channel.setEncoding('utf8');
  channel.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) heard(line);
  });
  channel.on('error', () => onGone());
  channel.on('close', () => onGone());

  function heard(line: string): void {
    const words = line.split(' ');
    if (words[0] === 'hello') {
      const pid = Number(words[4] ?? 0);
      const state = words[3];
      engine =
        state === 'running' || state === 'killed'
          ? { state, pid, startedHere: engine?.state === state && engine.pid === pid && engine.startedHere }
          : { state: 'none' };
    } else if (words[0] === 'engine' && words[1] === 'started') {
      engine = { state: 'running', pid: Number(words[2]), startedHere: true };
    } else if (words[0] === 'engine' && words[1] === 'exited') {
      lastEnd = words.slice(3).join(' ');
      engine = { state: 'none' };
      log.info({ pid: Number(words[2]), how: lastEnd }, 'the engine has ended');
    } else if (words[0] === 'term') {
      term ??= { ms: Number(words[1]), at: performance.now() };
    } else if (words[0] === 'refused') {
      log.warn({ line }, 'the supervisor refuses');
    }
    for (const waiter of [...waiters]) waiter(line);
    onEvent();
  }

  /** The first line that `take` makes something of. */
  function answer<T>(what: string, timeoutMs: number, take: (line: string) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        waiters.delete(waiter);
        action();
      };
      const waiter = (line: string) => {
        try {
          const taken = take(line);
          if (taken !== undefined) settle(() => resolve(taken));
        } catch (error) {
          settle(() => reject(error as Error));
        }
      };
      const timer = setTimeout(() => settle(() => reject(new AppError('timeout', `${what} within ${timeoutMs} ms`))), timeoutMs);
      waiters.add(waiter);
    });
  }

  return {
    engine: () => engine,
    lastEnd: () => lastEnd,
    async start({ file, args }) {
      const started = answer('the supervisor did not start the engine', START_TIMEOUT_MS, (line) => {
        if (line.startsWith('refused start')) throw new AppError('conflict', `the supervisor does not start the engine: ${line}`);
        return line.startsWith('engine started') ? true : undefined;
      });
      channel.write(`start ${[file, ...args].map(netstring).join('')}\n`);
      await started;
    },
    async kill(timeoutMs) {
      if (engine?.state === 'none') return;
      const gone = answer('the engine was not gone', timeoutMs, (line) =>
        line.startsWith('engine exited') || line.startsWith('hello 1 engine none') ? true : undefined,
      );
      // Its state is asked for as well: where none runs, nothing would ever be heard of its end.
      channel.write('kill\nstate\n');
      await gone;
    },
    pet(ms) {
      channel.write(`pet ${process.hrtime.bigint() / 1_000_000n + BigInt(Math.round(ms))}\n`);
    },
    term: () => term,
  };
}

/** Length, colon, text, comma: no character of an argument has a meaning. @throws AppError `invalid` for control characters, which no argument has */
export function netstring(text: string): string {
  if (/\p{Cc}/u.test(text)) throw new AppError('invalid', 'an argument of the engine holds a control character');
  return `${Buffer.byteLength(text)}:${text},`;
}
