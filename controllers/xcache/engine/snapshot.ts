import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { AppError, messageOf } from '#core/errors.ts';
import type { SessionOptions } from './session.ts';

export interface SnapshotOptions extends Omit<SessionOptions, 'timeoutMs'> {
  signal: AbortSignal;
}

/** Nothing is heard for so long: while the engine forks it sends a line a second. Milliseconds. */
const SILENCE_MS = 60_000;
const MARK_BYTES = 40;

/**
 * All data of an engine as of one moment, as its own snapshot file: asked for as a replica would that wants this and nothing more (SYNC, `rdb-only`), so that nothing is written to
 * the engine's disk, and what the engine is told to keep there stays as it is. It forks for it.
 *
 * @returns the bytes of the file; they fail when the end did not come
 * @throws AppError `engine` when it refuses: a replica that has no link to its master; `unavailable`
 */
export async function openSnapshot({ at, tls, user, password, signal }: SnapshotOptions): Promise<Readable> {
  const isTls = tls !== undefined && 'host' in at;
  const socket = isTls ? connectTls({ ...at, ...tls }) : connect(at);
  const stop = () => socket.destroy(new Error('it was stopped'));
  signal.addEventListener('abort', stop, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', stop));
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error('the engine fell silent')));
  try {
    signal.throwIfAborted();
    await once(socket, isTls ? 'secureConnect' : 'connect');
    const reader = createReader(socket);
    for (const words of [
      ['AUTH', user, password],
      ['REPLCONF', 'capa', 'eof'],
      ['REPLCONF', 'rdb-only', '1'],
    ]) {
      socket.write(request(words));
      const answer = await reader.line();
      if (!answer.startsWith('+')) throw refused(answer);
    }
    socket.write(request(['SYNC']));
    let head = await reader.line();
    while (head === '') head = await reader.line();
    if (!head.startsWith('$')) throw refused(head);
    return Readable.from(bodyOf(reader, head.slice(1)), { objectMode: false });
  } catch (error) {
    socket.destroy();
    throw error instanceof AppError
      ? error
      : new AppError('unavailable', `no snapshot of the engine: ${messageOf(error)}`, { cause: error });
  }
}

/** `EOF:<mark>`: up to these forty bytes, which nothing else is; else so many bytes. */
async function* bodyOf(reader: ByteReader, head: string): AsyncGenerator<Buffer> {
  try {
    if (head.startsWith('EOF:')) yield* untilMark(reader, Buffer.from(head.slice(4)));
    else yield* exactly(reader, Number(head));
  } catch (error) {
    throw new AppError('unavailable', `the snapshot broke off: ${messageOf(error)}`, { cause: error });
  } finally {
    reader.end();
  }
}

async function* untilMark(reader: ByteReader, mark: Buffer): AsyncGenerator<Buffer> {
  if (mark.length !== MARK_BYTES) throw new Error('its end is not told');
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    held = Buffer.concat([held, await reader.some()]);
    if (held.length >= mark.length && held.subarray(-mark.length).equals(mark)) {
      if (held.length > mark.length) yield held.subarray(0, -mark.length);
      return;
    }
    // The mark may be half here.
    if (held.length <= mark.length) continue;
    yield held.subarray(0, -mark.length);
    held = held.subarray(-mark.length);
  }
}

async function* exactly(reader: ByteReader, bytes: number): AsyncGenerator<Buffer> {
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new Error('its length is not told');
  for (let left = bytes; left > 0; ) {
    const chunk = await reader.some();
    yield chunk.subarray(0, left);
    left -= chunk.length;
  }
}

interface ByteReader {
  line(): Promise<string>;
  /** What came next. @throws when nothing more comes */
  some(): Promise<Buffer>;
  end(): void;
}

function createReader(socket: Socket): ByteReader {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let held: Buffer = Buffer.alloc(0);
  async function more(): Promise<Buffer> {
    const { value, done } = await chunks.next();
    if (done) throw new Error('the engine ended the connection');
    return value;
  }
  return {
    async line() {
      for (;;) {
        const end = held.indexOf(10);
        if (end >= 0) {
          const text = held.toString('latin1', 0, end).trim();
          held = held.subarray(end + 1);
          return text;
        }
        held = Buffer.concat([held, await more()]);
      }
    },
    async some() {
      if (held.length === 0) return more();
      const now = held;
      held = Buffer.alloc(0);
      return now;
    },
    end: () => void socket.destroy(),
  };
}

function request(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

function refused(answer: string): AppError {
  return new AppError('engine', `the engine gives no snapshot: ${answer.slice(0, 200).replace(/^-/, '')}`);
}
