import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import { waitFor } from '#core/sleep.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { signal } from '#test/pool/processes.ts';
import type { Fault } from '../fault.ts';
import { type Role, roleOf, type ServiceWorld } from '../world.ts';

/** The keeper of the records is away, or remembers something else than it was told. */

const CONTAINER = 'xcaas-consul';
const WHOLE = 180;

const each = (world: ServiceWorld, action: (host: PoolHost) => Promise<unknown>) => Promise.all(world.pool.hosts.map(action));
const stopAll = (world: ServiceWorld) => each(world, (host) => world.docker(host, 'stop', '--time', '5', CONTAINER));
const startAll = (world: ServiceWorld) => each(world, (host) => world.docker(host, 'start', CONTAINER));

/** @throws AppError `timeout` */
async function untilLeader(world: ServiceWorld): Promise<void> {
  const there = await waitFor(() => world.consulLeader(world.pool.first).catch(() => undefined), { timeoutMs: 90_000, intervalMs: 500 });
  if (there === undefined) throw new AppError('timeout', 'Consul has no leader');
}

export function consulStopped(expect: string): Fault {
  return {
    ...{ name: 'Consul is stopped on all hosts', expect, lasts: [8, 25], weight: 5, whole: WHOLE },
    writable: { from: 'fault', seconds: 20 },
    async inject(world) {
      await stopAll(world);
      return { what: 'all hosts', heal: async () => void (await startAll(world)) };
    },
  };
}

export function consulLeaderKilled(expect: string): Fault {
  return {
    ...{ name: "kill -9 Consul's leader", expect, lasts: [3, 10], weight: 4, whole: WHOLE, writable: { from: 'fault', seconds: 30 } },
    async inject(world) {
      const leader = await world.consulLeader(world.pool.first);
      if (leader === undefined) throw new AppError('unavailable', 'Consul has no leader to be killed');
      const { State } = await leader.docker.getContainer(CONTAINER).inspect();
      // Its restart policy brings it back.
      signal(State.Pid, 'SIGKILL');
      return { what: leader.name, heal: async () => undefined };
    },
  };
}

/** Consul goes first, then an engine. */
export function stoppedAndKilled(role: Role, expect: string, writable: Fault['writable'] = { from: 'heal', seconds: 60 }): Fault {
  return {
    ...{ name: `Consul is stopped on all hosts, then kill -9 engine of the ${role}`, expect },
    ...{ lasts: [5, 15], weight: 3, whole: WHOLE, writable },
    async inject(world, random) {
      const member = roleOf(await world.roles(), role);
      await stopAll(world);
      await new Promise((resolve) => setTimeout(resolve, random.between(500, 5000)));
      await world.signal(member, 'engine', 'SIGKILL');
      return { what: `${member.id} on ${member.host.name}`, heal: async () => void (await startAll(world)) };
    },
  };
}

/** Saves what Consul holds, for as long as `action` needs it. */
function snapshots(world: ServiceWorld) {
  const folder = mkdtempSync(join(tmpdir(), 'xcaas-snapshot-'));
  return {
    async save(name: string): Promise<void> {
      await world.consul(world.pool.first, 'GET', '/snapshot', { output: join(folder, name) });
    },
    async restore(name: string): Promise<void> {
      await world.consul(world.pool.first, 'PUT', '/snapshot', { input: join(folder, name) });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export const restoredOld: Fault = {
  name: 'Consul is restored from a snapshot older than the last change of the master',
  expect:
    'members that know a newer record neither start nor take over; once the newest snapshot is restored all is as before, and nothing acknowledged is lost',
  ...{ lasts: [8, 15], weight: 2, whole: WHOLE, writable: { from: 'heal', seconds: 120 } },
  async inject(world) {
    const kept = snapshots(world);
    await kept.save('old');
    await world.switchover();
    const back = await waitFor(() => world.roles().catch(() => undefined), { timeoutMs: 120_000, intervalMs: 500 });
    if (back === undefined) throw new AppError('timeout', 'nobody is in sync after the switchover');
    await kept.save('newest');
    await kept.restore('old');
    return {
      what: `the master is ${back.master.id} now`,
      async heal() {
        await kept.restore('newest');
        kept.remove();
      },
    };
  },
};

/** @param key of the record that says who leads, below the service's own */
export function recordDeleted(key: string): Fault {
  return {
    name: `the ${key} record is deleted from Consul`,
    expect:
      'nobody makes a new one: members neither start nor take over; once the snapshot is restored all is as before, and nothing acknowledged is lost',
    ...{ lasts: [8, 15], weight: 2, whole: WHOLE, writable: { from: 'heal', seconds: 120 } },
    async inject(world) {
      const kept = snapshots(world);
      await kept.save('newest');
      await world.consul(world.pool.first, 'DELETE', `/kv/xcaas/${world.kind}/${world.name}/${key}`);
      return {
        what: key,
        async heal() {
          await kept.restore('newest');
          kept.remove();
        },
      };
    },
  };
}

/** All servers start with empty disks: nothing is known, no token is good. Its disks come back at the healing. */
export const wiped: Fault = {
  name: 'Consul loses all its disks',
  expect: 'nobody starts or takes over by an empty Consul; once its data are back all is as before, and nothing acknowledged is lost',
  ...{ lasts: [8, 20], weight: 2, whole: WHOLE, writable: { from: 'heal', seconds: 120 } },
  async inject(world) {
    const data = (host: PoolHost) => hostPaths(host.root).consulData;
    await stopAll(world);
    for (const host of world.pool.hosts) renameSync(data(host), `${data(host)}.kept`);
    await startAll(world);
    return {
      what: 'all hosts',
      async heal() {
        await stopAll(world);
        for (const host of world.pool.hosts) {
          if (!existsSync(`${data(host)}.kept`)) continue;
          rmSync(data(host), { recursive: true, force: true });
          renameSync(`${data(host)}.kept`, data(host));
        }
        await startAll(world);
        await untilLeader(world);
      },
    };
  },
};
