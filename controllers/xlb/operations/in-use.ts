import type { ServiceInUse } from '#pool/services.ts';
import { LB_PREFIX, type LbStore } from '#xlb/store.ts';

/** Names and host ports of all load balancers. */
export async function lbsInUse(store: LbStore): Promise<ServiceInUse[]> {
  const specs = await store.specs.list(LB_PREFIX, (key) => key.endsWith('/spec'));
  return specs.map(({ value }) => ({ kind: 'lb', name: value.name, hostPorts: value.publish.map(({ hostPort }) => hostPort) }));
}
