import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { requestJson } from '#core/http.ts';
import { PORTS } from '#core/paths.ts';

const Nodes = z.array(z.object({ Node: z.string(), Address: z.string() }));
const Answer = z.object({ reachable: z.boolean() });

/**
 * Whether the host of another member lives, seen from a third host: its agent is asked to open a connection to the agent of that host. Engines cannot be
 * reached from there, since they listen on an overlay network only. Where the pool has no third host, this host's own agent looks: by the hosts' network, that is
 * another way than the overlay's.
 *
 * @returns undefined when it cannot be found out
 */
export type SecondView = (node: string) => Promise<boolean | undefined>;

export interface SecondViewOptions {
  consul: Pick<ConsulClient, 'request'>;
  /** The agent of this host. */
  agentSocket: string;
  /** Host of this member. */
  node: string;
  timeoutMs?: number;
}

export function createSecondView({ consul, agentSocket, node, timeoutMs = 1000 }: SecondViewOptions): SecondView {
  let nodes: z.infer<typeof Nodes> = [];
  let turn = 0;

  /** Hosts change rarely, and when a host dies Consul may be without a leader: what was heard before is good enough. */
  async function hosts() {
    const answer = await consul.request('GET', '/v1/catalog/nodes', { query: { stale: true }, timeoutMs }).catch(() => undefined);
    const parsed = answer?.status === 200 ? Nodes.safeParse(answer.body) : undefined;
    if (parsed?.success && parsed.data.length > 0) nodes = parsed.data;
    return nodes;
  }

  return async (of) => {
    const all = await hosts();
    const target = all.find(({ Node }) => Node === of);
    if (target === undefined || of === node) return undefined;
    const others = all.filter(({ Node }) => Node !== of && Node !== node);
    // Another one each time: a third host may be down as well.
    turn += 1;
    const witness = others[turn % Math.max(1, others.length)]?.Node;
    const address = target.Address.includes(':') ? `[${target.Address}]` : target.Address;
    const query = new URLSearchParams({
      address: `${address}:${PORTS.agent}`,
      timeoutMs: String(timeoutMs),
      ...(witness === undefined ? {} : { host: witness }),
    });
    try {
      const answer = await requestJson({ socketPath: agentSocket, method: 'GET', path: `/v1/probe?${query}`, timeoutMs: timeoutMs * 2 });
      return answer.status === 200 ? Answer.parse(answer.body).reachable : undefined;
    } catch {
      return undefined;
    }
  };
}
