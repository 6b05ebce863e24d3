import { Redis } from 'ioredis';
import { AppError, messageOf } from '#core/errors.ts';
import { within } from '#member/within.ts';
import { type EngineFacts, parseInfo } from './info.ts';

/** One connection to one engine: no queue, no retries, nothing is ever sent twice. */
export interface EngineSession {
  facts(): Promise<EngineFacts>;
  /** @throws AppError `engine` when the engine refused, `timeout`, `unavailable` when it is not known what became of it */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  close(): void;
}

export interface SessionOptions {
  /** A unix socket, or an address and a port. */
  at: { path: string } | { host: string; port: number };
  user: string;
  password: string;
  timeoutMs: number;
  /** By TCP: the authority, and the name that the engine's certificate is for. */
  tls?: { ca: string; servername: string } | undefined;
}

/** Account of the sidecars at every engine of a cache. */
export const AGENT_USER = '_agent';
export const REPLICATION_USER = '_repl';
/** Account that engines of a cluster's shard speak as to other engines of that cluster. */
export const shardUser = (shard: number) => `_shard${shard}`;

const SECTIONS = ['server', 'clients', 'memory', 'persistence', 'stats', 'replication', 'keyspace'] as const;

/** @throws AppError `unavailable` */
export async function connectEngine({ at, user, password, timeoutMs, tls }: SessionOptions): Promise<EngineSession> {
  const client = new Redis({
    ...at,
    ...(tls === undefined || 'path' in at ? {} : { tls }),
    ...{ username: user, password, protocol: 2, lazyConnect: true, enableOfflineQueue: false, enableReadyCheck: false },
    ...{ maxRetriesPerRequest: 0, retryStrategy: () => null, autoResendUnfulfilledCommands: false },
    ...{ connectTimeout: timeoutMs, disableClientInfo: true },
  });
  let last: unknown;
  client.on('error', (error: unknown) => {
    last = error;
  });
  try {
    await within(client.connect(), timeoutMs, 'a connection to an engine');
  } catch (error) {
    client.disconnect();
    throw new AppError('unavailable', `the engine cannot be reached: ${messageOf(last ?? error)}`, { cause: error });
  }

  async function call(command: string, ...args: (string | number)[]): Promise<unknown> {
    try {
      return await within(client.call(command, ...args), timeoutMs, `${command} of the engine`);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const refused = error instanceof Error && error.name === 'ReplyError';
      throw new AppError(refused ? 'engine' : 'unavailable', `${command}: ${messageOf(error)}`, { cause: error });
    }
  }

  return {
    call,
    async facts() {
      const [info, setting] = await Promise.all([call('INFO', ...SECTIONS), call('CONFIG', 'GET', 'min-replicas-to-write')]);
      const value = Array.isArray(setting) ? setting[1] : undefined;
      return parseInfo(String(info), Number(value ?? 0));
    },
    close: () => client.disconnect(),
  };
}

/** True for an answer that says that the engine lives and cannot be asked now: it has no room for another connection, or a script runs. */
export function isBusy(error: unknown): boolean {
  const text = messageOf(error);
  return text.includes('max number of clients') || text.includes('BUSY');
}
