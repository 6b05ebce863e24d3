import type { ConsulClient } from '#core/consul/client.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { type Events, pruneEvents } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import { setManager } from '#pool/hosts.ts';
import { managersWanted } from '#pool/managers.ts';

export interface DutiesDeps {
  consul: ConsulClient;
  log: Logger;
  events: Events;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
}

/**
 * What the leader does for the pool itself, one step a turn: the right number of managers (1, 3 or 5, spread over the groups), events kept bounded.
 *
 * @returns the sentence
 */
export async function poolDuties(deps: DutiesDeps): Promise<string> {
  await pruneEvents(deps.consul);
  const hosts = await deps.hosts();
  const promoted = await promoteOne(deps, hosts);
  if (promoted !== undefined) return promoted;
  const joined = await completeSwarmManagers(deps, hosts);
  if (joined !== undefined) return joined;
  const alive = hosts.filter((host) => host.alive).length;
  return `${alive} of ${hosts.length} hosts answer, ${hosts.filter((host) => host.spec.manager).length} are managers`;
}

/** Managers are made one at a time: a Consul server that has just joined must catch up before the next one counts towards the majority. */
async function promoteOne(deps: DutiesDeps, hosts: Host[]): Promise<string | undefined> {
  const half = hosts.find((host) => host.spec.manager && host.alive && host.facts !== undefined && !host.facts.consulServer);
  const { promote, reason } = managersWanted(hosts);
  const host = half ?? hosts.find((candidate) => candidate.spec.id === promote[0]);
  if (host === undefined || !host.alive) return undefined;
  // The record first: control gives a host what makes it a manager only if the record says that it is to be one.
  await setManager(deps.consul, host.spec.id, true);
  const { sentence, change } = await deps.agent(host).promote();
  if (change) {
    await deps.events.record({
      object: `host/${host.spec.name}`,
      kind: 'info',
      reason: 'promoted',
      sentence: `${host.spec.name} becomes a manager: ${reason}`,
    });
  }
  return sentence;
}

/** A manager of the pool is a manager of the Swarm too; the Swarm takes that from one of its managers only. */
async function completeSwarmManagers(deps: DutiesDeps, hosts: Host[]): Promise<string | undefined> {
  const missing = hosts.find(
    (host) => host.spec.manager && host.alive && host.facts?.swarmNodeId !== undefined && !host.facts.swarmManager,
  );
  const teller = hosts.find((host) => host.alive && host.facts?.swarmManager);
  if (missing?.facts?.swarmNodeId === undefined || teller === undefined) return undefined;
  try {
    await deps.agent(teller).promoteSwarmNode(missing.facts.swarmNodeId);
  } catch (error) {
    deps.log.warn({ host: missing.spec.name, err: messageOf(error) }, 'a host could not be made a manager of the Swarm');
    return `${missing.spec.name} could not be made a manager of the Swarm: ${messageOf(error)}`;
  }
  return `${missing.spec.name} becomes a manager of the Swarm`;
}
