import { MAX_LAG_SECONDS } from '#xcache/engine/files.ts';
import { FENCED } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';

/** The engine refuses every write from now on: it waits for more replicas than there can be. @throws AppError `engine`, `timeout`, `unavailable` */
export async function fence(session: EngineSession): Promise<void> {
  await session.call('CONFIG', 'SET', 'min-replicas-max-lag', MAX_LAG_SECONDS, 'min-replicas-to-write', FENCED);
}

/** Clients that talk to an engine which is none of theirs any more find the right one when their connection ends. */
export async function cutClients(session: EngineSession): Promise<void> {
  for (const type of ['normal', 'pubsub']) await session.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
}
