import { AppError } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import type { PoolHost } from './host.ts';

/** Makes one Swarm of hosts that are in none. @throws AppError `timeout` when not all are ready within 60 s */
export async function formSwarm(hosts: readonly PoolHost[], { managers = 1 }: { managers?: number } = {}): Promise<void> {
  const [first, ...others] = hosts;
  if (!first) return;
  await first.docker.swarmInit({ AdvertiseAddr: first.address, ListenAddr: `${first.address}:2377` });
  const { JoinTokens } = await first.docker.swarmInspect();
  const join = (host: PoolHost, token: string) =>
    host.docker.swarmJoin({
      RemoteAddrs: [`${first.address}:2377`],
      JoinToken: token,
      AdvertiseAddr: host.address,
      ListenAddr: `${host.address}:2377`,
    });
  // Managers one after another: each join changes the majority.
  for (const host of others.slice(0, managers - 1)) await join(host, JoinTokens.Manager);
  await Promise.all(others.slice(managers - 1).map((host) => join(host, JoinTokens.Worker)));
  await swarmReady(first, hosts.length);
}

/** Waits until a manager counts so many ready nodes. @throws AppError `timeout` */
export async function swarmReady(manager: PoolHost, nodes: number, timeoutMs = 60_000): Promise<void> {
  let seen = '';
  const ready = await waitFor(
    async () => {
      try {
        const list: { Status: { State: string }; Description: { Hostname: string } }[] = await manager.docker.listNodes();
        seen = list.map((node) => `${node.Description.Hostname}=${node.Status.State}`).join(' ');
        return list.filter((node) => node.Status.State === 'ready').length === nodes ? true : undefined;
      } catch (error) {
        seen = String(error);
        return undefined;
      }
    },
    { timeoutMs, intervalMs: 200 },
  );
  if (!ready) throw new AppError('timeout', `the Swarm has not ${nodes} ready nodes: ${seen}`);
}
