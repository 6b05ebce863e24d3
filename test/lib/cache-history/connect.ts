import { type Cluster, Redis } from 'ioredis';
import { messageOf } from '#core/errors.ts';
import { type Address, connectToAny, type Reachable, within } from '../history/addresses.ts';
import { CertainlyNot } from '../history/writing.ts';
import { countKey, listKey, type Place } from './keys.ts';

/** Where the cache is, as a client is told. */
export interface CacheEndpoint extends Reachable {
  user: string;
  password: string;
  /** For one answer; after it the connection is given up. */
  answerMs: number;
  /** The addresses are of a cluster's members. */
  cluster?: boolean;
}

/** One connection; nothing is sent twice on it. */
export interface CacheSession {
  /** Appends and counts together. @returns the run of the engine that did it @throws CertainlyNot when the engine refused; anything else leaves it unknown */
  append(place: Place, seq: number): Promise<string>;
  close(): void;
}

/** @throws AppError `unavailable` with what each address said */
export const connect = (endpoint: CacheEndpoint, turn: number): Promise<CacheSession> =>
  connectToAny(endpoint, turn, (at) => open(at, endpoint));

async function open({ host, port }: Address, { user, password, connectMs, answerMs, cluster }: CacheEndpoint): Promise<CacheSession> {
  const common = {
    ...{ username: user, password, connectTimeout: connectMs, socketTimeout: answerMs },
    // What became of a command is for the journal to know, not for the client to mend.
    ...{ retryStrategy: null, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, enableReadyCheck: false },
  };
  const client = cluster
    ? new Redis.Cluster([{ host, port }], {
        ...{ lazyConnect: true, enableOfflineQueue: false, clusterRetryStrategy: () => null, slotsRefreshTimeout: connectMs },
        // Asked elsewhere only by an engine's word, which has done nothing of it then.
        ...{ retryDelayOnFailover: 0, slotsRefreshInterval: 1000, redisOptions: common },
      })
    : new Redis({ ...common, host, port, lazyConnect: true, enableOfflineQueue: false });
  client.on('error', () => undefined);
  try {
    await within(client.connect(), connectMs * 2, `a greeting of ${host}`);
  } catch (error) {
    client.disconnect();
    throw error;
  }
  return { append: (place, seq) => append(client, place, seq, answerMs), close: () => client.disconnect() };
}

async function append(client: Redis | Cluster, place: Place, seq: number, answerMs: number): Promise<string> {
  const answers = await within(
    client.multi().rpush(listKey(place), String(seq)).incr(countKey(place)).info('server').exec(),
    answerMs * 2,
    'the answer',
  ).catch((error: unknown) => {
    throw isAnswer(error) ? new CertainlyNot(reasonsOf(error)) : error;
  });
  const failed = answers?.find(([error]) => error !== null)?.[0];
  // Of a transaction that was begun, all is done or nothing was sent back: which part failed decides nothing.
  if (answers === null || failed) throw new Error(`the transaction: ${failed?.message ?? 'not done'}`);
  const run = /run_id:([0-9a-f]+)/.exec(String(answers[2]?.[1]))?.[1];
  if (run === undefined) throw new Error('INFO without a run_id');
  return run;
}

/** What the engine said, to the whole transaction: nothing of it was done. */
function isAnswer(error: unknown): error is Error & { previousErrors?: Error[] } {
  return error instanceof Error && error.name === 'ReplyError';
}

function reasonsOf(error: Error & { previousErrors?: Error[] }): string {
  return [...new Set([...(error.previousErrors ?? []), error].map(messageOf))].join('; ');
}
