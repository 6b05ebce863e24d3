import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { AppError } from '#core/errors.ts';

/**
 * How two sidecars of one database speak: mutual TLS by the pool's CA; the server sends a challenge line, the client a line with what it wants and a code over
 * the challenge that only members of this database can make, the server a line with its answer, then what the answer is about.
 */
export const Challenge = z.object({ v: z.literal(1), challenge: z.string().min(16).max(128) });

export const Ask = z.object({
  v: z.literal(1),
  /** `clone`: a copy of the data. `position`: how far the member has received. `store`: what is on its backup volume. */
  what: z.enum(['clone', 'position', 'store']),
  /** With `store`: the objects whose keys begin with `key`, or that object. */
  object: z.object({ op: z.enum(['list', 'get']), key: z.string().max(512) }).optional(),
  member: z.string().max(64),
  mac: z.string().max(128),
});
export type Ask = z.infer<typeof Ask>;

export const Position = z.object({
  gen: z.string(),
  /** Boot of the engine as it stands in the member's data record. */
  boot: z.string(),
  /** What it has received; that is what it acknowledges. */
  received: z.string(),
  /** Whom it follows and receives from at this moment. */
  from: z.string().nullable(),
});
export type Position = z.infer<typeof Position>;

/** First line of a donor: whose data follow. */
export const CloneHead = z.object({ gen: z.string(), epoch: z.number().int() });
export type CloneHead = z.infer<typeof CloneHead>;

/** First line of what comes from a backup volume: so many bytes follow. */
export const ObjectHead = z.object({ bytes: z.number().int().min(0) });

export const Refusal = z.object({ error: z.string() });

const MAX_LINE = 8192;

/** @param secret known to the members of one database only */
export function macOf(secret: string, db: string, ask: Pick<Ask, 'what' | 'member'>, challenge: string): string {
  return createHmac('sha256', secret)
    .update(JSON.stringify(['xdb-peer', db, ask.what, ask.member, challenge]))
    .digest('hex');
}

export function sameMac(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}

export function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/**
 * Reads one line and puts back what came after it.
 *
 * @throws AppError `unavailable` when the stream ends before; `engine` when the line is too long or does not fit
 */
export async function readLine<T>(stream: Readable, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
  const chunks: Buffer[] = [];
  let size = 0;
  for (;;) {
    const chunk = (stream.read() as Buffer | null) ?? (await readable(stream, signal));
    if (chunk === null) continue;
    const end = chunk.indexOf(0x0a);
    if (end >= 0) {
      if (end + 1 < chunk.length) stream.unshift(chunk.subarray(end + 1));
      chunks.push(chunk.subarray(0, end));
      break;
    }
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_LINE) throw new AppError('engine', 'another member said more than a line');
  }
  const text = Buffer.concat(chunks).toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new AppError('engine', 'another member said what is not understood');
  }
  const refused = Refusal.safeParse(json);
  if (refused.success) throw new AppError('unavailable', `another member refuses: ${refused.data.error}`);
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new AppError('engine', 'another member said what is not understood');
  return parsed.data;
}

function readable(stream: Readable, signal: AbortSignal): Promise<null> {
  return new Promise((resolve, reject) => {
    const settle = (action: () => void) => {
      stream.off('readable', again).off('end', ended).off('error', failed).off('close', ended);
      signal.removeEventListener('abort', aborted);
      action();
    };
    const again = () => settle(() => resolve(null));
    const ended = () => settle(() => reject(new AppError('unavailable', 'another member closed the connection')));
    const failed = (error: Error) => settle(() => reject(new AppError('unavailable', error.message, { cause: error })));
    const aborted = () => settle(() => reject(new AppError('timeout', 'another member did not answer in time')));
    if (signal.aborted) return aborted();
    if (stream.readableEnded || stream.destroyed) return ended();
    stream.on('readable', again).on('end', ended).on('error', failed).on('close', ended);
    signal.addEventListener('abort', aborted, { once: true });
  });
}
