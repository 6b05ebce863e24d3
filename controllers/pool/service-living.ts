import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import type { ServiceDeps } from '#pool/service-deps.ts';
import { keptHint, keptSentence } from '#pool/service-destroyed.ts';

/** Questions about a service that is there and stays. */

interface Living {
  name: string;
  members: readonly { id: string }[];
  destroyed?: { time: string; keepData: boolean; purge: boolean } | undefined;
}

type Sidecars = readonly { member: string; node: string }[];

/** @param kind first word of its verbs @throws AppError `not_found` saying how to get it back */
export function refuseDestroyed(kind: string, spec: Living): void {
  if (spec.destroyed === undefined) return;
  throw new AppError('not_found', keptSentence(spec), spec.destroyed.purge ? {} : { hint: keptHint(kind, spec) });
}

/** @throws AppError `not_found` naming the members there are */
export function expectMember(spec: Living, member: string): void {
  if (spec.members.some(({ id }) => id === member)) return;
  throw new AppError('not_found', `${spec.name} has no member ${JSON.stringify(member.slice(0, 60))}`, {
    hint: `it has ${spec.members.map(({ id }) => id).join(', ')}`,
  });
}

/** Asks the sidecar of a member, by way of its host's agent. @throws AppError `unavailable` when the member is not there */
export async function askMember(
  deps: Pick<ServiceDeps<unknown>, 'hosts' | 'agent'>,
  records: { sidecars: Sidecars },
  member: string,
  { method, path, body, timeoutMs }: { method: string; path: string; body?: unknown; timeoutMs?: number },
): Promise<unknown> {
  const host = await hostOfMember(deps, records, member);
  return deps.agent(host).memberAdmin(member, method, path, body, timeoutMs === undefined ? {} : { timeoutMs });
}

/** @throws AppError `unavailable` */
export async function hostOfMember(
  deps: Pick<ServiceDeps<unknown>, 'hosts'>,
  { sidecars }: { sidecars: Sidecars },
  member: string,
): Promise<Host> {
  const node = sidecars.find((status) => status.member === member)?.node;
  const host = (await deps.hosts()).find((candidate) => candidate.spec.name === node);
  if (host === undefined) throw new AppError('unavailable', `${member} does not run, or cannot reach Consul`, { hint: 'xcaas nodes' });
  return host;
}
