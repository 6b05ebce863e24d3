import type { Host } from '#pool/host.ts';
import { lossOf } from '#pool/lost-host.ts';
import { MemberSpec, specHash } from '#pool/member.ts';
import type { Refusal } from '#pool/pass.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { PlacedReport } from '#pool/service-members.ts';
import type { LbSpec, LbStatus, SidecarStatus } from '#xlb/schema.ts';

/** What the controller saw of one load balancer. */
export interface Observed {
  /** Modify index of the specification. */
  specIndex: number;
  hosts: Host[];
  /** Where its members are to be, by member. */
  placements: Placement[];
  /** Containers of its members on the hosts that answered. */
  reports: PlacedReport[];
  /** Hosts whose agents did not answer. */
  silentHosts: string[];
  sidecars: SidecarStatus[];
  /** ID of the image that members are to run. */
  image: string;
  /** What could not be done in the turn before this one, and why. */
  refused?: Refusal | undefined;
}

export type Step =
  | { do: 'place'; member: string; reason: string }
  | { do: 'lost'; member: string; since: string | undefined; reason: string }
  /** `replaces` = the container that runs has to make way; else it is made, started, or only given other secrets. */
  | { do: 'ensure'; member: string; host: string; spec: MemberSpec; replaces: boolean; reason: string }
  | { do: 'remove'; member: string; host: string; purge: boolean; reason: string }
  /** `host`: where it was seen to be placed; a member that has another place by now keeps it. */
  | { do: 'release'; member: string; host: string; reason: string }
  | { do: 'forget'; reason: string };

/**
 * A load balancer holds no data, so a member is placed anew soon after its host was lost; long enough that a restart of an agent or
 * a moved lease does not move it.
 */
export const HOST_LOST_AFTER_MS = 30_000;

/** How long a new member may take before it counts as missing: an image may have to be carried to its host first. */
export const STARTING_MS = 120_000;

/** Resources of a member: nginx, HAProxy and a small Node process; not bound to CPUs. */
export const MEMBER_MEMORY_BYTES = 512 * 2 ** 20;

/**
 * A host that is switched off sends no word: requests on connections that were open to it would wait for `readTimeoutMs`. TCP gives up what is not
 * acknowledged after 5 tries (about 13 s where the network answers within some ms, more where it is slow; 15 tries and 15 min if not set), and its
 * keep-alive finds a peer that is gone while an answer is awaited in 5 + 3 × 2 = 11 s. What is retried then is the data plane's business.
 */
const DEAD_CONNECTIONS = {
  'net.ipv4.tcp_retries2': '5',
  'net.ipv4.tcp_keepalive_time': '5',
  'net.ipv4.tcp_keepalive_intvl': '2',
  'net.ipv4.tcp_keepalive_probes': '3',
};

export function memberIds(spec: LbSpec): string[] {
  return Array.from({ length: spec.replicas }, (_, index) => `${spec.name}-${index + 1}`);
}

/**
 * Pure: the steps that bring one load balancer to its specification, all of which can be done now. An empty list = nothing to do.
 *
 * Invariants: a member is removed from a host only if it is placed on another or is not wanted any more; a running member is never replaced while it is
 * the only healthy one and another replica is still to come up.
 */
export function plan(spec: LbSpec, observed: Observed, now: Date): Step[] {
  if (spec.destroyed) return planDestroy(spec, observed);
  const wanted = memberIds(spec);
  const steps: Step[] = [];
  for (const member of wanted) {
    const placement = observed.placements.find((record) => record.member === member);
    if (placement === undefined) {
      steps.push({ do: 'place', member, reason: `${member} has no host yet` });
      continue;
    }
    const lost = planLostHost(member, placement, observed, now);
    if (lost !== undefined) {
      steps.push(lost);
      continue;
    }
    const ensure = planEnsure(spec, member, placement, observed);
    if (ensure !== undefined) steps.push(ensure);
  }
  steps.push(...planStrays(wanted, observed));
  return holdLastHealthy(steps, observed);
}

/** The member as it is to run on the host it is placed on. */
export function memberSpec(
  spec: LbSpec,
  member: string,
  placement: Placement,
  observed: Pick<Observed, 'placements' | 'image' | 'hosts'>,
): MemberSpec {
  const host = observed.hosts.find((candidate) => candidate.spec.id === placement.host);
  return MemberSpec.parse({
    id: member,
    kind: 'lb',
    service: spec.name,
    image: observed.image,
    network: spec.network,
    aliases: [spec.name],
    env: {
      XCAAS_KIND: 'lb',
      XCAAS_NAME: spec.name,
      XCAAS_MEMBER: member,
      XCAAS_HOST: placement.host,
      XCAAS_NODE: host?.spec.name ?? placement.host,
    },
    publish: publishes(member, placement, observed) ? spec.publish.map(({ hostPort, port }) => ({ hostPort, port, protocol: 'tcp' })) : [],
    volumes: { data: '/var/lib/xlb' },
    memoryBytes: MEMBER_MEMORY_BYTES,
    sysctls: DEAD_CONNECTIONS,
    // Longer than the supervisor gives nginx to end its requests.
    stopTimeoutSeconds: 45,
    consul: {
      write: [`xcaas/lb/${spec.name}/members/${member}`],
      read: [`xcaas/lb/${spec.name}/`, `xcaas/targets/${spec.name}/`],
    },
  });
}

/** Members of one load balancer on one host share its ports: the first of them by name has them. */
function publishes(member: string, placement: Placement, observed: Pick<Observed, 'placements'>): boolean {
  const onHost = observed.placements.filter((other) => other.host === placement.host && other.service === placement.service);
  return onHost.map((other) => other.member).toSorted(byNumber)[0] === member;
}

function byNumber(a: string, b: string): number {
  return Number(a.slice(a.lastIndexOf('-') + 1)) - Number(b.slice(b.lastIndexOf('-') + 1));
}

function planDestroy(spec: LbSpec, observed: Observed): Step[] {
  const steps: Step[] = observed.reports.map((report) => ({
    do: 'remove',
    member: report.id,
    host: report.host,
    purge: true,
    reason: `${spec.name} is destroyed`,
  }));
  if (steps.length > 0) return steps;
  const unseen = observed.placements.filter((placement) => observed.silentHosts.includes(placement.host));
  // A host that comes back later is swept by the agents' own look at the records: see planStrays of the pool.
  const releases: Step[] = observed.placements
    .filter((placement) => !unseen.includes(placement))
    .map((placement) => ({ do: 'release', member: placement.member, host: placement.host, reason: `${spec.name} is destroyed` }));
  if (releases.length > 0) return releases;
  if (unseen.length > 0) return [];
  return [{ do: 'forget', reason: `nothing of ${spec.name} is left` }];
}

function planLostHost(member: string, placement: Placement, observed: Observed, now: Date): Step | undefined {
  const loss = lossOf(placement, observed, now);
  switch (loss.state) {
    case 'fine':
      return undefined;
    case 'left':
      return { do: 'release', member, host: placement.host, reason: `its host is no longer in the pool` };
    case 'back':
      return { do: 'lost', member, since: undefined, reason: `${loss.host.spec.name} is back` };
    case 'silent':
      return { do: 'lost', member, since: now.toISOString(), reason: `${loss.host.spec.name} does not answer` };
    case 'lost': {
      const { host, ms } = loss;
      if (ms < HOST_LOST_AFTER_MS || !canMove(host, observed)) return undefined;
      return { do: 'release', member, host: host.spec.id, reason: `${host.spec.name} has been gone for ${Math.round(ms / 1000)} s` };
    }
  }
}

/**
 * A member moves to a host that has none yet: a second one beside another survives nothing more, and would stay there when its own host is back.
 * From a host that is drained it moves to any: that is how a host that never comes back is emptied, to be removed.
 */
function canMove(from: Host, observed: Observed): boolean {
  const taken = new Set(observed.placements.map((placement) => placement.host));
  const others = observed.hosts.filter((other) => other.alive && !other.spec.drained && other.spec.id !== from.spec.id);
  return from.spec.drained ? others.length > 0 : others.some((other) => !taken.has(other.spec.id));
}

function planEnsure(spec: LbSpec, member: string, placement: Placement, observed: Observed): Step | undefined {
  if (observed.silentHosts.includes(placement.host)) return undefined;
  const host = observed.hosts.find((candidate) => candidate.spec.id === placement.host);
  if (host === undefined || !host.alive) return undefined;
  const wanted = memberSpec(spec, member, placement, observed);
  const report = observed.reports.find((candidate) => candidate.id === member && candidate.host === placement.host);
  const ensure = (reason: string, replaces = false): Step => ({
    do: 'ensure',
    member,
    host: placement.host,
    spec: wanted,
    replaces,
    reason,
  });
  if (report === undefined) return ensure(`${member} does not exist on ${host.spec.name}`);
  if (report.hash !== specHash(wanted)) return ensure(`${member} runs with another specification`, report.state === 'running');
  // `restarting` is the engine's own doing; what it gave up on is started again here.
  if (report.state === 'exited' || report.state === 'created' || report.state === 'dead') return ensure(`${member} is ${report.state}`);
  const sidecar = observed.sidecars.find((candidate) => candidate.member === member);
  // nginx counts from 1, see certsSecret; a member without certificates has none to hold.
  if (sidecar !== undefined && spec.certsVersion > 0 && sidecar.certsVersion <= spec.certsVersion)
    return ensure('its certificates changed');
  return undefined;
}

/**
 * Containers that the records do not want where they are: left on a host that was thought lost, or more than the replicas asked for. One that was
 * moved goes on serving until the member that took its place does.
 */
function planStrays(wanted: string[], observed: Observed): Step[] {
  const steps: Step[] = [];
  for (const report of observed.reports) {
    const remove = (reason: string) => steps.push({ do: 'remove', member: report.id, host: report.host, purge: true, reason });
    const placement = observed.placements.find((record) => record.member === report.id);
    if (!wanted.includes(report.id)) remove(`${report.id} is one more than the replicas asked for`);
    else if (placement !== undefined && placement.host !== report.host && isHealthyAt(report.id, placement.host, observed)) {
      remove(`${report.id} now lives on another host`);
    }
  }
  for (const placement of observed.placements) {
    const left = observed.reports.some((report) => report.id === placement.member);
    if (!wanted.includes(placement.member) && !left)
      steps.push({ do: 'release', member: placement.member, host: placement.host, reason: 'it is not wanted any more' });
  }
  return steps;
}

function isHealthyAt(member: string, host: string, observed: Observed): boolean {
  return observed.reports.some((each) => each.id === member && each.host === host && each.state === 'running' && each.health === 'healthy');
}

/** Replacing takes a member away for a moment: one at a time, and not before the others are healthy. */
function holdLastHealthy(steps: Step[], observed: Observed): Step[] {
  const running = observed.reports.filter((report) => report.state === 'running');
  const healthy = running.filter((report) => report.health === 'healthy').map((report) => report.id);
  const alone = new Set(observed.placements.map((placement) => placement.member)).size <= 1;
  let replaced = 0;
  return steps.filter((step) => {
    if (step.do !== 'ensure' || !step.replaces) return true;
    const othersHealthy = healthy.some((member) => member !== step.member);
    if (replaced > 0 || !(othersHealthy || alone || !healthy.includes(step.member))) return false;
    replaced += 1;
    return true;
  });
}

/** Pure: the word, the sentence and the next command. */
export function statusOf(spec: LbSpec, observed: Observed, now: Date): LbStatus {
  const wanted = memberIds(spec);
  const live = wanted.filter((member) => serves(member, observed));
  const rejected = observed.sidecars.find((sidecar) => sidecar.rejected !== undefined);
  const late = observed.sidecars.filter((sidecar) => sidecar.specIndex < observed.specIndex);
  const hostNames = new Set(observed.placements.filter((p) => wanted.includes(p.member)).map((placement) => placement.host));
  const base = { v: 1 as const, time: now.toISOString(), specIndex: observed.specIndex };
  const count =
    wanted.length === 1
      ? `${live.length === 1 ? 'its one member serves' : 'its one member does not serve'}`
      : `${live.length} of ${wanted.length} members serve`;

  if (spec.destroyed) return { ...base, status: 'PENDING', sentence: `${spec.name} is being removed`, next: [] };
  if (rejected !== undefined) {
    return {
      ...base,
      status: 'DEGRADED',
      sentence: `${count} with their last good configuration: ${rejected.rejected}`,
      next: [`lb logs ${spec.name}`],
    };
  }
  if (observed.refused !== undefined && live.length < wanted.length) {
    const status = live.length > 0 ? 'DEGRADED' : 'FAILED';
    const { code, message } = observed.refused;
    return { ...base, status, sentence: live.length > 0 ? `${count}; ${message}` : message, code, next: ['xcaas nodes'] };
  }
  if (live.length === 0) {
    const failed = observed.reports.find((report) => report.error !== undefined && report.error !== '');
    if (failed !== undefined)
      return { ...base, status: 'DOWN', sentence: `${failed.id} does not run: ${failed.error}`, next: [`lb logs ${spec.name}`] };
    const everServed = observed.sidecars.length > 0;
    return {
      ...base,
      status: everServed ? 'DOWN' : 'PENDING',
      sentence: everServed ? `no member serves` : `members are being started`,
      next: [`lb status ${spec.name}`],
    };
  }
  const starting = wanted.filter((member) => !live.includes(member) && isStarting(member, observed, now));
  if (live.length + starting.length >= wanted.length && starting.length > 0) {
    return { ...base, status: 'PENDING', sentence: `${count}; ${starting.join(', ')} is being started`, next: [] };
  }
  if (live.length < wanted.length) {
    return {
      ...base,
      status: 'DEGRADED',
      sentence: `${count}; ${missing(
        wanted.filter((member) => !live.includes(member)),
        observed,
      )}`,
      next: ['xcaas nodes'],
    };
  }
  if (late.length > 0) {
    return {
      ...base,
      status: 'PENDING',
      sentence: `${count}; the last change is on its way to ${late.map((s) => s.member).join(', ')}`,
      next: [],
    };
  }
  if (wanted.length > 1 && hostNames.size === 1) {
    const host = observed.hosts.find((candidate) => hostNames.has(candidate.spec.id))?.spec.name ?? 'one host';
    const room = observed.hosts.filter((candidate) => candidate.alive).length > 1;
    if (room) return { ...base, status: 'DEGRADED', sentence: `${count}, all on ${host}`, next: ['xcaas nodes'] };
    return { ...base, status: 'READY', sentence: `${count}, all on ${host}, the only host of the pool`, next: [] };
  }
  return { ...base, status: 'READY', sentence: `${count} on ${hostNames.size} host${hostNames.size === 1 ? '' : 's'}`, next: [] };
}

/** Why members do not serve: hosts that are silent are named, with what happens next. */
function missing(members: string[], observed: Observed): string {
  return members
    .map((member) => {
      const at = observed.placements.find((record) => record.member === member)?.host;
      const host = observed.hosts.find((candidate) => candidate.spec.id === at);
      if (host === undefined || (host.alive && !observed.silentHosts.includes(host.spec.id))) return `waiting for ${member}`;
      const next = canMove(host, observed) ? `it moves after ${HOST_LOST_AFTER_MS / 1000} s` : 'it waits for that host, no other is free';
      return `${member} is on ${host.spec.name}, which does not answer: ${next}`;
    })
    .join('; ');
}

/** Placed a short while ago, on a host that lives, and not heard of yet or not seen healthy by its engine: on its way, not missing. */
function isStarting(member: string, observed: Observed, now: Date): boolean {
  const placement = observed.placements.find((record) => record.member === member);
  if (placement === undefined) return !observed.sidecars.some((sidecar) => sidecar.member === member);
  if (placement.lostSince !== undefined || now.getTime() - Date.parse(placement.time) >= STARTING_MS) return false;
  const report = observed.reports.find((candidate) => candidate.id === member && candidate.host === placement.host);
  return report?.health === 'starting' || !observed.sidecars.some((sidecar) => sidecar.member === member);
}

function serves(member: string, observed: Observed): boolean {
  const placement = observed.placements.find((record) => record.member === member);
  const report = observed.reports.find((candidate) => candidate.id === member && candidate.host === placement?.host);
  const sidecar = observed.sidecars.find((candidate) => candidate.member === member);
  if (report?.state !== 'running') return false;
  return sidecar?.engineUp ?? false;
}
