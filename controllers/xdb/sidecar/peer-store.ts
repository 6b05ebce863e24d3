import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError, hasCode, messageOf } from '#core/errors.ts';
import type { PeerAddress, PeerClient } from './peer-client.ts';
import { type Ask, line, ObjectHead, readLine } from './peer-protocol.ts';

/** Nothing moves on a connection for so long: it is given up, in milliseconds. */
const SILENCE_MS = 60_000;
const HEAD_MS = 15_000;
const NOT_THERE = 'there is no such object';

const Listed = z.array(z.object({ key: z.string(), bytes: z.number() }));

/** Serves what a member has on its backup volume. @throws AppError: the caller tells the other side */
export async function serveStore(store: BackupStore, socket: TLSSocket, { op, key }: NonNullable<Ask['object']>): Promise<void> {
  socket.setTimeout(SILENCE_MS, () => socket.destroy());
  if (op === 'list') {
    const text = Buffer.from(JSON.stringify(await store.list(key)));
    socket.write(line({ bytes: text.length }));
    socket.end(text);
    return;
  }
  const found = (await store.list(key.replace(/[^/]*$/, ''))).find((object) => object.key === key);
  if (found === undefined) throw new AppError('not_found', NOT_THERE);
  const content = await store.get(key);
  socket.write(line({ bytes: found.bytes }));
  await pipeline(content, socket);
}

/** The backup volume of another member, to be read only. */
export function peerStore(peers: Pick<PeerClient, 'store'>, address: () => PeerAddress): BackupStore {
  const readOnly = () => Promise.reject(new AppError('internal', 'the backup volume of another member is not written to'));

  async function ask(object: NonNullable<Ask['object']>, signal?: AbortSignal): Promise<{ socket: TLSSocket; bytes: number }> {
    const limit = AbortSignal.timeout(HEAD_MS);
    const either = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    const socket = await peers.store(address(), object, either);
    try {
      socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error('it fell silent')));
      const { bytes } = await readLine(socket, ObjectHead, either);
      return { socket, bytes };
    } catch (error) {
      socket.destroy();
      if (hasCode(error, 'unavailable') && error.message.includes(NOT_THERE))
        throw new AppError('not_found', `${address().member} does not have ${object.key}`);
      throw error;
    }
  }

  return {
    get name() {
      return `volume of ${address().member}`;
    },
    put: readOnly,
    delete: readOnly,
    tidy: readOnly,
    async get(key, { signal } = {}) {
      const { socket, bytes } = await ask({ op: 'get', key }, signal);
      return Readable.from(exactly(socket, bytes, `${key} of ${address().member}`), { objectMode: false });
    },
    async list(prefix) {
      const { socket, bytes } = await ask({ op: 'list', key: prefix });
      const text = await buffer(Readable.from(exactly(socket, bytes, `the list of ${address().member}`), { objectMode: false }));
      return Listed.parse(JSON.parse(text.toString('utf8')));
    },
  };
}

/** The end of a connection is no proof that all came. */
async function* exactly(socket: TLSSocket, bytes: number, what: string): AsyncGenerator<Buffer> {
  let seen = 0;
  try {
    for await (const chunk of socket) {
      seen += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  } catch (cause) {
    throw new AppError('unavailable', `${what}: the connection broke after ${seen} of ${bytes} bytes: ${messageOf(cause)}`, { cause });
  } finally {
    socket.destroy();
  }
  if (seen !== bytes) throw new AppError('unavailable', `${what}: ${seen} of ${bytes} bytes came`);
}
