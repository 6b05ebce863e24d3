import type { Stored } from '#core/consul/records.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import type { MemberReport } from '#pool/member.ts';
import { listPlacements } from '#pool/placement-record.ts';
import type { Observed } from '#xlb/plan.ts';
import type { LbSpec } from '#xlb/schema.ts';
import { type LbStore, sidecarsPrefix } from '#xlb/store.ts';

export interface ObserveDeps {
  store: LbStore;
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): AgentClient;
  /** ID of the image that members run. */
  image(): Promise<string>;
}

/** Looks at one load balancer: its records, and what every living host has of it. */
export async function observe(deps: ObserveDeps, stored: Stored<LbSpec>): Promise<Omit<Observed, 'refused'>> {
  const { store } = deps;
  const name = stored.value.name;
  const [hosts, placements, sidecars, image] = await Promise.all([
    deps.hosts(),
    listPlacements(store.consul),
    store.sidecars.list(sidecarsPrefix(name)),
    deps.image(),
  ]);
  const silentHosts: string[] = [];
  const reports = await Promise.all(
    hosts.map(async (host): Promise<(MemberReport & { host: string })[]> => {
      const { id } = host.spec;
      if (!host.alive) {
        silentHosts.push(id);
        return [];
      }
      try {
        const members = await deps.agent(host).members();
        return members.filter((member) => member.kind === 'lb' && member.service === name).map((member) => ({ ...member, host: id }));
      } catch (error) {
        deps.log.warn({ host: host.spec.name, err: messageOf(error) }, 'an agent does not say which members it has');
        silentHosts.push(id);
        return [];
      }
    }),
  );
  return {
    specIndex: stored.modifyIndex,
    hosts,
    placements: placements.filter((placement) => placement.kind === 'lb' && placement.service === name),
    reports: reports.flat(),
    silentHosts,
    sidecars: sidecars.map(({ value }) => value),
    image,
  };
}
