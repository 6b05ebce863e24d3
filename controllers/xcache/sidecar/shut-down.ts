import { sleep } from '#core/sleep.ts';
import type { Supervisor } from '#member/supervisor.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import type { EngineLink } from './engine-link.ts';

/** Ends the engine. What is to be kept is on disk before the end. */
export async function shutDown(
  session: EngineSession,
  { supervisor, link }: { supervisor: Pick<Supervisor, 'engine'>; link: Pick<EngineLink, 'drop'> },
  persistence: CacheSpec['persistence'] | undefined,
): Promise<void> {
  // The connection ends with the engine; an answer is a refusal.
  await session.call('SHUTDOWN', persistence === 'rdb' ? 'SAVE' : 'NOSAVE', 'NOW').catch(() => undefined);
  link.drop();
  for (let waited = 0; waited < 10_000 && supervisor.engine()?.state !== 'none'; waited += 50) await sleep(50);
}
