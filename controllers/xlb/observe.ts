import type { Stored } from '#core/consul/records.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import { listPlacements } from '#pool/placement-record.ts';
import { askForMembers } from '#pool/service-members.ts';
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
  const { reports, silentHosts } = await askForMembers(deps, hosts, { kind: 'lb', name });
  return {
    specIndex: stored.modifyIndex,
    hosts,
    placements: placements.filter((placement) => placement.kind === 'lb' && placement.service === name),
    reports,
    silentHosts,
    sidecars: sidecars.map(({ value }) => value),
    image,
  };
}
