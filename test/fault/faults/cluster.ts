import { AppError, messageOf } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import { ClusterRecord } from '#xcache/schema.ts';
import { type CacheFault, CUT, lose, UNSENT } from '../cache-fault.ts';
import type { CacheWorld } from '../cache-world.ts';
import { allKilled } from './cache-restart.ts';
import { consulStopped } from './consul.ts';
import { onHost } from './network.ts';
import { hostFrozen, powerLost } from './power.ts';
import { killed, stopped } from './processes.ts';

/** What is done to a cluster of three shards, two members each, which keeps its data on disk. Each host has a master and a replica of another shard. */

const fails_over = "the shard's replica is elected and writes go on; masters are spread again by themselves";

async function clusterRecord({ pool, name, consul }: CacheWorld): Promise<ClusterRecord> {
  return ClusterRecord.parse(JSON.parse(await consul(pool.first, 'GET', `/kv/xcaas/cache/${name}/cluster?raw`)));
}

/** Two shards more, and back: the sidecar that moves the slots dies each time in the middle. */
const reshardInterrupted: CacheFault = {
  name: 'two shards are added and taken away, and the sidecar that moves slots is killed in the middle',
  expect: 'another sidecar goes on with the move; no write is lost or done twice',
  ...{ lasts: [1, 2], weight: 3, whole: 240, writable: { from: 'fault', seconds: 40 }, loses: 'nothing' },
  async inject(world) {
    const scale = (shards: number) =>
      world.pool
        .json(['cache', 'scale', world.name, '--shards', String(shards), '--timeout', '200'], { timeoutMs: 240_000 })
        .then(() => undefined)
        .catch((error: unknown) => error);
    const interrupted = async (shards: number): Promise<string> => {
      const asked = scale(shards);
      const moving = await waitFor(
        async () => {
          const record = await clusterRecord(world);
          return record.state === 'moving' ? record : undefined;
        },
        { timeoutMs: 120_000, intervalMs: 50 },
      );
      if (moving === undefined) throw new AppError('timeout', `no slots were moved for ${shards} shards: ${messageOf(await asked)}`);
      const holder = (await world.members()).find(({ id }) => id === moving.holder);
      if (holder === undefined) throw new AppError('internal', `${moving.holder} is no member`);
      await world.signal(holder, 'sidecar', 'SIGKILL');
      const failed = await asked;
      if (failed !== undefined) throw failed;
      return `${holder.id} with ${moving.progress?.left ?? '?'} slots to go`;
    };
    const grown = await interrupted(5);
    const shrunk = await interrupted(3);
    return { what: `${grown}; ${shrunk}`, heal: async () => undefined };
  },
};

export const CLUSTER_FAULTS: readonly CacheFault[] = [
  ...lose(
    UNSENT,
    killed({ role: 'master', kinds: ['engine'], expect: fails_over, weight: 8 }),
    killed({ role: 'master', kinds: ['engine', 'sidecar'], expect: fails_over, weight: 5 }),
    stopped({ role: 'master', kinds: ['engine'], expect: fails_over, weight: 5 }),
    powerLost('master', fails_over, 6),
  ),
  ...lose({ ...UNSENT, atWake: true }, hostFrozen('master', fails_over, 4)),
  ...lose(
    CUT,
    onHost({
      name: "a master's host is cut off from everything",
      role: 'master',
      expect: `it takes writes for the node timeout at the most; ${fails_over}`,
      weight: 5,
      break: (host) => host.cut(),
    }),
  ),
  ...lose('nothing', consulStopped('engines elect and serve by themselves: writes go on')),
  allKilled('all slots are served again from what is on the disks, whatever the addresses are'),
  reshardInterrupted,
];
