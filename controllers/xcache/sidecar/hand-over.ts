import { sleep } from '#core/sleep.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import { XCACHE_PORTS } from './config.ts';
import { cutClients, fence } from './fence.ts';

/** Writes wait so long for a replica to catch up (FAILOVER … TIMEOUT); clients are let go a little later in any case. */
const FAILOVER_MS = 3000;
const PAUSE_MS = 4500;
/** What was done before writes wait is answered by then. */
const ANSWERED_MS = 20;
const LOOK_MS = 20;

export interface Heir {
  address: string | undefined;
  /** To its engine. @throws AppError `unavailable` */
  connect(address: string): Promise<EngineSession>;
}

/**
 * Writes wait while the replica gets everything and the engines change roles (FAILOVER). Clients are cut before that, because one that comes with a write just after it would be answered
 * READONLY: no Sentinel and no endpoint leads them here any more. They are cut once more before what waits is let go. Nothing that waited was done, and whoever asked asks again at the new
 * master.
 *
 * @returns undefined when it is done, else why not @throws AppError `engine`, `timeout`, `unavailable`: what became of it is unknown
 */
export async function handOver(session: EngineSession, { address, connect }: Heir): Promise<string | undefined> {
  if (address === undefined) return 'where the target is is not known';
  const heir = await connect(address);
  try {
    await session.call('CLIENT', 'PAUSE', PAUSE_MS, 'WRITE');
    await sleep(ANSWERED_MS);
    await cutClients(session);
    await session.call('FAILOVER', 'TO', address, XCACHE_PORTS.engine, 'TIMEOUT', FAILOVER_MS);
    for (;;) {
      const facts = await session.facts();
      if (facts.role === 'replica') {
        await fence(session);
        await cutClients(session);
        return undefined;
      }
      if (!facts.failingOver) return 'the replica did not catch up in time';
      askWhereItIs(heir);
      await sleep(LOOK_MS);
    }
  } finally {
    heir.close();
    await session.call('CLIENT', 'UNPAUSE').catch(() => undefined);
  }
}

/**
 * The master waits for the replica to say that it has everything, which replicas say once a second; REPLCONF GETACK has one say so at once, to its master: whoever asks gets no answer. An
 * engine that does not heed it says so within the second.
 */
function askWhereItIs(replica: EngineSession): void {
  replica.call('REPLCONF', 'GETACK', '*').catch(() => undefined);
}
