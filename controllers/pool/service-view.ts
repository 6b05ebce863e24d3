import { AppError, messageOf } from '#core/errors.ts';
import type { PoolConsul } from '#pool/guard.ts';
import type { Host } from '#pool/host.ts';
import { listPlacements, type Placement } from '#pool/placement-record.ts';
import type { ServiceDeps } from '#pool/service-deps.ts';
import type { SeenService } from '#pool/service-world.ts';
import type { ServiceInUse } from '#pool/services.ts';

/** Where the published ports of a service are reached: each host of a member, while a member on it lives. */
export function publishedAt(
  spec: { name: string; publish: readonly { hostPort: number; port: number }[] },
  hosts: readonly Host[],
  placements: readonly Placement[],
): { host: string; hostPort: number; port: number }[] {
  const at = new Set(placements.filter((each) => each.service === spec.name).map((each) => each.host));
  const addresses = hosts.filter((host) => at.has(host.spec.id)).map((host) => host.spec.address);
  return spec.publish.flatMap(({ hostPort, port }) => addresses.map((host) => ({ host, hostPort, port })));
}

/** The world without asking any agent: what records say of hosts. */
export function seenByRecords(hosts: readonly Host[], placements: readonly Placement[]): SeenService {
  const silentHosts = hosts.filter((host) => !host.alive).map((host) => host.spec.id);
  return { hosts: [...hosts], everything: [...placements], reports: [], silentHosts };
}

/** The host of a member and what is known of it, for a status. */
export function seatOf(member: string, hosts: readonly Host[], placements: readonly Placement[]) {
  const placement = placements.find((each) => each.member === member);
  const host = hosts.find((each) => each.spec.id === placement?.host);
  return {
    placement,
    /** When its sidecar says nothing. */
    state: host === undefined ? 'unplaced' : host.alive ? 'down' : 'host_lost',
    ...{ node: host?.spec.name ?? '', group: host?.spec.group ?? '', rack: host?.spec.rack ?? '' },
  };
}

/**
 * What a list and a view begin with. A status that was made for an older specification says nothing of the last change.
 *
 * @param isOfThisMoment whether it fits what the records say of who leads
 * @param now as the records alone have it: the controller may itself be on a host that was lost
 */
export function summaryOf<S extends { specIndex: number; status: string; sentence: string; code?: string | undefined; next: string[] }>(
  { spec, previous }: { spec: { value: { name: string }; modifyIndex: number }; previous: S | undefined },
  isOfThisMoment: (last: S) => boolean,
  now: () => S,
) {
  const last = previous !== undefined && previous.specIndex >= spec.modifyIndex ? previous : undefined;
  const status = last === undefined || isOfThisMoment(last) ? last : now();
  return {
    name: spec.value.name,
    status: status?.status ?? 'PENDING',
    sentence: status?.sentence ?? notLookedAt(previous),
    ...(status?.code === undefined ? {} : { code: status.code }),
    next: status?.next ?? [],
  };
}

function notLookedAt(previous: object | undefined): string {
  return previous === undefined ? 'the controller has not looked at it yet' : 'the controller has not looked at the last change yet';
}

/** The latest lines of each member's container. */
export async function serviceLogs(
  deps: Pick<ServiceDeps<{ consul: PoolConsul }>, 'store' | 'hosts' | 'agent'>,
  service: string,
  lines: number,
): Promise<{ member: string; lines: string[] }[]> {
  const [hosts, placements] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  return Promise.all(
    placements
      .filter((each) => each.service === service)
      .map(async ({ member, host: id }) => {
        const host = hosts.find((each) => each.spec.id === id);
        try {
          if (host === undefined) throw new AppError('unavailable', 'its host is no longer in the pool');
          return { member, lines: await deps.agent(host).memberLogs(member, lines) };
        } catch (error) {
          return { member, lines: [`(no logs: ${messageOf(error)})`] };
        }
      }),
  );
}

/** What a member's sidecar and engine count, as Prometheus reads it. @throws AppError `not_found` */
export async function memberMetrics(
  deps: Pick<ServiceDeps<unknown>, 'hosts' | 'agent'>,
  { kind, name, sidecars }: { kind: string; name: string; sidecars: readonly { member: string; node: string }[] },
  member: string,
): Promise<string> {
  const node = sidecars.find((status) => status.member === member)?.node;
  const host = (await deps.hosts()).find((each) => each.spec.name === node);
  if (host === undefined) throw new AppError('not_found', `${name} has no member ${member} that runs`, { hint: `${kind} status ${name}` });
  return String(await deps.agent(host).memberAdmin(member, 'GET', '/metrics'));
}

/** Names and host ports of services, those among them whose data are kept after they were destroyed. */
export function inUse(
  kind: ServiceInUse['kind'],
  specs: readonly { name: string; publish: readonly { hostPort: number }[]; destroyed?: object | undefined }[],
): ServiceInUse[] {
  return specs.map(({ name, publish, destroyed }) => ({
    kind,
    name,
    hostPorts: destroyed === undefined ? publish.map(({ hostPort }) => hostPort) : [],
  }));
}
