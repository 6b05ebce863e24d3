import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import type { MemberReport } from '#pool/member.ts';

export type PlacedReport = MemberReport & { host: string };

export interface SeenMembers {
  /** Containers of the service's members on the hosts that answered, with the id of the host. */
  reports: PlacedReport[];
  /** Ids of hosts whose agents did not answer, or that are not alive. */
  silentHosts: string[];
}

/** What every living host has of one service. A host that does not answer is silent, not empty. */
export async function askForMembers(
  deps: { log: Logger; agent(host: Host): Pick<AgentClient, 'members'> },
  hosts: readonly Host[],
  service: { kind: string; name: string },
): Promise<SeenMembers> {
  const silentHosts: string[] = [];
  const reports = await Promise.all(
    hosts.map(async (host): Promise<PlacedReport[]> => {
      const { id } = host.spec;
      if (!host.alive) {
        silentHosts.push(id);
        return [];
      }
      try {
        const members = await deps.agent(host).members();
        return members
          .filter((member) => member.kind === service.kind && member.service === service.name)
          .map((member) => ({ ...member, host: id }));
      } catch (error) {
        deps.log.warn({ host: host.spec.name, err: messageOf(error) }, 'an agent does not say which members it has');
        silentHosts.push(id);
        return [];
      }
    }),
  );
  return { reports: reports.flat(), silentHosts };
}
