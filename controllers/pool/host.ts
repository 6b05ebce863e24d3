import { z } from 'zod';
import type { HostSpec } from '#core/host.ts';

/** `xcaas/hosts/<id>/facts` and `GET /v1/host` of an agent: what is so on a host, written by its agent. */
export const HostFacts = z.object({
  v: z.literal(1),
  /** CPUs the engine may use. */
  cpus: z.number().int().min(1),
  memoryBytes: z.number().int().min(0),
  /** Size of the file system that holds the members' volumes. */
  diskBytes: z.number().int().min(0),
  engineVersion: z.string(),
  /** Absent while the host is in no Swarm. */
  swarmNodeId: z.string().optional(),
  swarmManager: z.boolean(),
  consulServer: z.boolean(),
  /** Labels of the engine itself (`daemon.json`). */
  engineLabels: z.record(z.string(), z.string()).default({}),
  /** Version of the agent that says so. */
  version: z.string(),
  time: z.string(),
});
export type HostFacts = z.infer<typeof HostFacts>;

/** CPUs, bytes of memory and of disk; of a host or of what is reserved there. */
export interface Resources {
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
}

export interface Host {
  spec: HostSpec;
  /** Absent until the host's agent has spoken for the first time. */
  facts: HostFacts | undefined;
  /** True while the agent's session holds the host's `alive` key. */
  alive: boolean;
  /** What members placed there have reserved. */
  reserved: Resources;
}

/** Names under which constraints also find a host's group and rack: the engine labels that compose files of the pool are written with. */
const GROUP_LABEL = 'com.alipay.acs.topic.group';
const RACK_LABEL = 'com.alipay.acs.topic.rack';

/** All labels that constraints see: the engine's, those set through the pool (which win), and the host's own group and rack. */
export function hostLabels(host: Pick<Host, 'spec' | 'facts'>): Record<string, string> {
  const { spec, facts } = host;
  const own = { group: spec.group, rack: spec.rack, [GROUP_LABEL]: spec.group, [RACK_LABEL]: spec.rack };
  return { ...facts?.engineLabels, ...spec.labels, ...own };
}
