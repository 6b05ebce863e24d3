import { closeSync, openSync, writeSync } from 'node:fs';
import { z } from 'zod';

/**
 * The journal of one client: JSON lines, appended only. A transaction has a `begin` line, on disk before its first statement is sent, and an outcome line
 * unless the client died. Keys are short: a long run has a million lines.
 */
const key = { w: z.number().int(), s: z.number().int() };

export const Line = z.discriminatedUnion('k', [
  /** The first line. `time` is the wall clock, for people. */
  z.object({ k: z.literal('start'), client: z.string(), at: z.number(), time: z.string() }),
  /** Transaction `s` of worker `w`, with `n` rows, in round `r`. */
  z.object({ k: z.literal('begin'), ...key, n: z.number().int(), r: z.number().int(), chain: z.boolean(), at: z.number() }),
  /** `srv`, `ep`: server id and epoch read inside it; `p`: what it read of the chain before it; `gtid`: where it stands in the log. */
  z.object({
    k: z.literal('acked'),
    ...key,
    at: z.number(),
    srv: z.number().int().optional(),
    ep: z.number().int().optional(),
    p: z.number().int().optional(),
    gtid: z.string().optional(),
    /** The engine's run that took it. */
    run: z.string().optional(),
  }),
  /** It is certainly not there: it failed before COMMIT was sent, or the server's answer says so. */
  z.object({ k: z.literal('refused'), ...key, at: z.number(), why: z.string() }),
  z.object({ k: z.literal('unknown'), ...key, at: z.number(), why: z.string() }),
]);
export type Line = z.infer<typeof Line>;

/** What an acknowledgement says, and when it came. */
export type Acked = Omit<Extract<Line, { k: 'acked' }>, 'k' | 'w' | 's'>;

/** Milliseconds of the machine's monotonic clock: comparable between all programs on it. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

export interface Journal {
  /** Returns when the kernel has the line: it outlives this program. */
  write(line: Line): void;
  close(): void;
}

export function openJournal(path: string): Journal {
  const fd = openSync(path, 'ax');
  return {
    write: (line) => void writeSync(fd, `${JSON.stringify(line)}\n`),
    close: () => closeSync(fd),
  };
}

/** One transaction as its client knows it. */
export interface Attempt {
  client: string;
  worker: number;
  seq: number;
  rows: number;
  round: number;
  /** Whether it read and extended its worker's chain. */
  chain: boolean;
  beganAt: number;
  outcome: 'acked' | 'refused' | 'unknown';
  /** When the outcome was known; undefined when the client died before. */
  endedAt: number | undefined;
  server: number | undefined;
  epoch: number | undefined;
  previous: number | undefined;
  gtid: string | undefined;
  run?: string | undefined;
  why: string | undefined;
}

export const attemptKey = ({ client, worker, seq }: Pick<Attempt, 'client' | 'worker' | 'seq'>): string => `${client}/${worker}/${seq}`;

/**
 * Reads a client's journal. A last line that is cut off is left out, for its writer was killed; anything else that is not understood is an error.
 *
 * @throws Error naming the line
 */
export function parseJournal(text: string): Attempt[] {
  const lines = text.split('\n');
  const whole = lines.slice(0, -1);
  const attempts = new Map<string, Attempt>();
  let client: string | undefined;
  for (const [at, raw] of whole.entries()) {
    const line = parseLine(raw, at + 1);
    if (line.k === 'start') {
      client = line.client;
      continue;
    }
    if (client === undefined) throw new Error('a journal begins with its start');
    const id = `${line.w}/${line.s}`;
    if (line.k === 'begin') {
      if (attempts.has(id)) throw new Error(`line ${at + 1}: ${client} began ${id} twice`);
      attempts.set(id, {
        ...{ client, worker: line.w, seq: line.s, rows: line.n, round: line.r, chain: line.chain, beganAt: line.at },
        ...{ outcome: 'unknown', endedAt: undefined, server: undefined, epoch: undefined, previous: undefined, gtid: undefined },
        why: 'the client died',
      });
      continue;
    }
    const attempt = attempts.get(id);
    if (attempt === undefined) throw new Error(`line ${at + 1}: the outcome of ${id}, which never began`);
    attempt.outcome = line.k;
    attempt.endedAt = line.at;
    attempt.why = line.k === 'acked' ? undefined : line.why;
    if (line.k === 'acked') Object.assign(attempt, { server: line.srv, epoch: line.ep, previous: line.p, gtid: line.gtid, run: line.run });
  }
  return [...attempts.values()];
}

function parseLine(raw: string, number: number): Line {
  try {
    return Line.parse(JSON.parse(raw));
  } catch (cause) {
    throw new Error(`line ${number} of a journal is not understood: ${raw.slice(0, 200)}`, { cause });
  }
}
