import { AppError } from '#core/errors.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';

/** The attachable overlay that `up` makes. */
export const DEFAULT_NETWORK = 'xcaas';

/** @throws AppError `not_found` for a network that does not exist, `invalid` for one that members on several hosts cannot share */
export async function refuseUnfitNetwork(
  deps: { hosts(): Promise<Host[]>; agent(host: Host): Pick<AgentClient, 'network'> },
  name: string,
): Promise<void> {
  const hosts = await deps.hosts();
  const teller = hosts.find((host) => host.alive && host.facts?.swarmManager);
  if (teller === undefined)
    throw new AppError('unavailable', 'no host that answers is a manager of the Swarm, which knows the networks', { hint: 'xcaas nodes' });
  const hint = `docker network create --driver overlay --attachable ${name}`;
  try {
    const network = await deps.agent(teller).network(name);
    if (network.driver !== 'overlay')
      throw new AppError('invalid', `the network ${name} is a ${network.driver}, which does not reach other hosts`, { hint });
    if (!network.attachable)
      throw new AppError('invalid', `the network ${name} is for Swarm services only: it is not attachable`, { hint });
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') throw new AppError('not_found', error.message, { hint });
    throw error;
  }
}
