import type { EndpointTable } from '#member/endpoint-table.ts';

/** Where members are, also those whose sessions have ended: an engine may well go on without Consul. */
export function createAddresses(last: EndpointTable | undefined) {
  const known = new Map<string, string>();
  for (const { id, address } of [...(last?.slaves ?? []), ...(last?.master == null ? [] : [last.master])]) known.set(id, address);
  return {
    learn(member: string, address: string): void {
      // An address that was another's is that one's no more.
      for (const [id, at] of known) if (at === address && id !== member) known.delete(id);
      known.set(member, address);
    },
    of: (member: string) => known.get(member),
    memberAt: (address: string) => [...known].find(([, at]) => at === address)?.[0],
  };
}
