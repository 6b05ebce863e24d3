import { AppError, messageOf } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { type LbSpec, type LbStatus, type LivePeer, SidecarPeers, SidecarStatus } from '#xlb/schema.ts';
import { certsPrefix, sidecarsPrefix, statusKey } from '#xlb/store.ts';

/** What a member's sidecar answered, or why it did not. */
export interface MemberView {
  id: string;
  host: Host;
  status: SidecarStatus | undefined;
  peers: SidecarPeers | undefined;
  error: string | undefined;
}

/** One row of a group: a peer as all workers of all members together see it. */
export interface PeerView {
  id: string;
  address: string;
  container: string;
  node: string;
  weight: number;
  state: 'up' | 'draining' | 'down';
  active: number;
  requests: number;
  failures: number;
}

/** Asks the sidecars of a load balancer, through the agents of their hosts, what their engines run with. */
export async function askMembers(deps: LbDeps, lb: string): Promise<MemberView[]> {
  const hosts = await deps.hosts();
  const records = await deps.store.sidecars.list(sidecarsPrefix(lb));
  const asked = records.flatMap(({ value }) => {
    const host = hosts.find((candidate) => candidate.spec.name === value.node);
    return host === undefined ? [] : [{ record: value, host }];
  });
  return Promise.all(
    asked.map(async ({ record, host }): Promise<MemberView> => {
      const base = { id: record.member, host };
      try {
        const agent = deps.agent(host);
        const [status, peers] = await Promise.all([
          agent.memberAdmin(record.member, 'GET', '/status'),
          agent.memberAdmin(record.member, 'GET', '/peers'),
        ]);
        return { ...base, status: SidecarStatus.parse(status), peers: SidecarPeers.parse(peers), error: undefined };
      } catch (error) {
        return { ...base, status: record, peers: undefined, error: messageOf(error) };
      }
    }),
  );
}

/** The JSON of `lb status` (../shared interface: name, status, sentence, listeners, instances, targets). */
export async function lbView(deps: LbDeps, name: string) {
  const { store } = deps;
  const { value: spec, modifyIndex } = await store.spec(name);
  const [status, members, certs] = await Promise.all([
    store.statuses.get(statusKey(name)),
    askMembers(deps, name),
    store.certs.list(certsPrefix(name)),
  ]);
  return {
    ...summary(spec, modifyIndex, status?.value),
    network: spec.network,
    replicas: spec.replicas,
    publish: spec.publish,
    rules: spec.rules,
    groups: spec.groups.map(({ active, ...group }) => ({ ...group, check: active })),
    options: spec.options,
    certs: certs.map(({ value }) => ({ host: value.host, notAfter: value.notAfter })),
    instances: members.map((member) => ({
      id: member.id,
      node: member.host.spec.name,
      generation: member.status?.generation ?? '',
      liveVersion: member.status?.liveVersion ?? 0,
      sentence: member.error ?? member.status?.sentence ?? '',
    })),
    targets: spec.groups.map((group) => ({ name: group.name, peers: mergePeers(members, group.name) })),
  };
}

export async function listLbs(deps: LbDeps) {
  const names = await deps.store.names();
  return Promise.all(
    names.map(async (name) => {
      const [{ value: spec, modifyIndex }, status] = await Promise.all([deps.store.spec(name), deps.store.statuses.get(statusKey(name))]);
      return summary(spec, modifyIndex, status?.value);
    }),
  );
}

/** @param specIndex of the specification: a status that was made for an older one says nothing of the last change */
function summary(spec: LbSpec, specIndex: number, written: LbStatus | undefined) {
  const status = written !== undefined && written.specIndex >= specIndex ? written : undefined;
  const unseen = written === undefined ? 'the controller has not looked at it yet' : 'the controller has not looked at the last change yet';
  return {
    name: spec.name,
    status: status?.status ?? 'PENDING',
    sentence: status?.sentence ?? unseen,
    ...(status?.code === undefined ? {} : { code: status.code }),
    next: status?.next ?? [],
    listeners: spec.listeners,
  };
}

/** Every worker has a table and counters of its own: they add up, over the workers of a member and over members. */
export function mergePeers(members: Pick<MemberView, 'peers'>[], group: string): PeerView[] {
  const merged = new Map<string, PeerView>();
  for (const { peers } of members) {
    for (const worker of peers?.workers ?? []) {
      for (const peer of worker.groups[group]?.peers ?? []) {
        const row = rowOf(peer);
        const other = merged.get(row.id);
        merged.set(row.id, other === undefined ? row : addUp(other, row));
      }
    }
  }
  return [...merged.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1));
}

function rowOf(peer: LivePeer): PeerView {
  return {
    id: peer.id,
    address: `${peer.address}:${peer.port}`,
    container: peer.container,
    node: peer.node,
    weight: peer.weight,
    state: stateOf(peer),
    active: peer.active,
    requests: peer.requests,
    failures: peer.failures,
  };
}

function stateOf(peer: LivePeer): PeerView['state'] {
  return peer.state === 'up' && !peer.healthy ? 'down' : peer.state;
}

const READINESS: PeerView['state'][] = ['up', 'draining', 'down'];

/** Where tables differ the less ready state is shown. */
function addUp(a: PeerView, b: PeerView): PeerView {
  return {
    ...a,
    state: READINESS.indexOf(b.state) > READINESS.indexOf(a.state) ? b.state : a.state,
    active: a.active + b.active,
    requests: a.requests + b.requests,
    failures: a.failures + b.failures,
  };
}

export async function lbLogs(deps: LbDeps, name: string, lines: number) {
  await deps.store.spec(name);
  const members = await askMembers(deps, name);
  return Promise.all(
    members.map(async (member) => {
      try {
        return { member: member.id, lines: await deps.agent(member.host).memberLogs(member.id, lines) };
      } catch (error) {
        return { member: member.id, lines: [`(no logs: ${messageOf(error)})`] };
      }
    }),
  );
}

/** What a member's sidecar, nginx and HAProxy count, as Prometheus reads it. @throws AppError `not_found` */
export async function memberMetrics(deps: LbDeps, name: string, member: string): Promise<string> {
  await deps.store.spec(name);
  const record = (await deps.store.sidecars.list(sidecarsPrefix(name))).find(({ value }) => value.member === member);
  const host = (await deps.hosts()).find((candidate) => candidate.spec.name === record?.value.node);
  if (host === undefined) throw new AppError('not_found', `${name} has no member ${member}`, { hint: `lb status ${name}` });
  return String(await deps.agent(host).memberAdmin(member, 'GET', '/metrics'));
}
