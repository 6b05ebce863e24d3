import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { findContainer } from '#pool/containers.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { matchTargets } from '#xlb/operations/targets.ts';
import { askMembers, type MemberView } from '#xlb/operations/view.ts';
import type { Target } from '#xlb/schema.ts';
import type { Route } from '#xlb/spec.ts';
import { targetKey } from '#xlb/store.ts';

/** A line of a drain as it goes on: requests in flight, and whether it is the last line. */
export interface DrainProgress {
  active: number;
  sentence: string;
  done: boolean;
}

export interface RemoveContainerRequest extends Route {
  container: string;
  port?: number | undefined;
  drainSeconds: number;
}

/** Milliseconds between two looks at the number of requests in flight. */
const LOOK_MS = 250;
/** Milliseconds until all members must have heard of a drain; what has not by then cannot be reached. */
const HEARD_MS = 5000;

/**
 * Takes a container out of a load balancer: no new requests, those in flight end or `drainSeconds` pass, then the target is forgotten. A drain that
 * was interrupted leaves the target draining; the same call finishes it.
 */
export async function removeContainer(
  deps: LbDeps,
  lb: string,
  request: RemoveContainerRequest,
  tell: (progress: DrainProgress) => void,
): Promise<void> {
  const targets = await matchTargets(deps, lb, request);
  for (const target of targets) {
    await deps.store.targets.update(targetKey(lb, target.id), (present) =>
      present === undefined ? undefined : { ...present, drain: true },
    );
  }
  const services = new Set(targets.map((target) => target.group));
  const isTarget = (group: string, peer: { container: string; id: string; port: number }) =>
    services.has(group) && targets.some((target) => target.port === peer.port && sameContainer(peer, target.container.value));
  const active = await waitForEnd(deps, [lb], isTarget, request.drainSeconds, tell);
  for (const target of targets) await forgetTarget(deps, target);
  const what = `${request.container} is out of ${lb}`;
  const sentence = active === 0 ? what : `${what}; ${active} requests were still in flight after ${request.drainSeconds} s`;
  await deps.events.record({ object: `lb/${lb}`, kind: 'info', reason: 'target_removed', sentence });
  deps.markDirty(lb);
  tell({ active, sentence, done: true });
}

/**
 * Stops a container of the pool so that no request is lost: it leaves every load balancer first, then gets SIGTERM.
 *
 * @throws AppError `not_found`, `ambiguous`; `invalid` when it is a member of a service
 */
export async function stopContainer(
  deps: LbDeps,
  query: string,
  { drainSeconds, stopSeconds }: { drainSeconds: number; stopSeconds: number },
  tell: (progress: DrainProgress) => void,
): Promise<void> {
  const { report, host } = await findContainer(deps, query);
  const kind = report.labels['xcaas.kind'];
  if (kind !== undefined) {
    throw new AppError(
      'invalid',
      `${report.name} is a member of the ${kind} ${report.labels['xcaas.name']}: its service would start it again`,
      {
        hint: `${kind} destroy ${report.labels['xcaas.name']} removes the service`,
      },
    );
  }
  const agent = deps.agent(host);
  const { registrations } = await agent.drain(report.id);
  const lbs = registrations === 0 ? [] : await deps.store.names();
  const isContainer = (_group: string, peer: { container: string; id: string }) =>
    sameContainer(peer, report.id) || sameContainer(peer, report.name);
  const active = registrations === 0 ? 0 : await waitForEnd(deps, lbs, isContainer, drainSeconds, tell);
  tell({ active, sentence: `stopping ${report.name}`, done: false });
  await agent.stop(report.id, stopSeconds);
  const left = active === 0 ? '' : `; ${active} requests were still in flight after ${drainSeconds} s`;
  const sentence = `${report.name} on ${host.spec.name} is stopped${left}`;
  await deps.events.record({ object: `container/${report.name}`, kind: 'info', reason: 'stopped', sentence });
  tell({ active, sentence, done: true });
}

async function forgetTarget(deps: LbDeps, target: Target): Promise<void> {
  await deps.store.consul.kv.delete(targetKey(target.lb, target.id));
}

/**
 * Waits until every reachable member has the peers as draining (or not at all) and none has a request in flight.
 *
 * @returns requests that were in flight at the end
 */
async function waitForEnd(
  deps: LbDeps,
  lbs: string[],
  isPeer: (group: string, peer: { container: string; id: string; port: number }) => boolean,
  seconds: number,
  tell: (progress: DrainProgress) => void,
): Promise<number> {
  const start = deps.now().getTime();
  for (;;) {
    const elapsed = deps.now().getTime() - start;
    const members = (await Promise.all(lbs.map((lb) => askMembers(deps, lb)))).flat();
    const { active, waiting } = count(members, isPeer);
    if (waiting === 0 && active === 0) return 0;
    if (elapsed >= seconds * 1000 && (waiting === 0 || elapsed >= HEARD_MS)) return active;
    if (waiting > 0 && elapsed >= HEARD_MS && active === 0) return 0;
    const sentence = waiting > 0 ? `${waiting} workers have yet to hear of it` : `${active} requests in flight`;
    tell({ active, sentence, done: false });
    await sleep(LOOK_MS);
  }
}

/** Over all workers of all members: requests in flight at the peers, and workers that still send them new ones. */
function count(
  members: MemberView[],
  isPeer: (group: string, peer: { container: string; id: string; port: number }) => boolean,
): { active: number; waiting: number } {
  let active = 0;
  let waiting = 0;
  for (const worker of members.flatMap((member) => member.peers?.workers ?? [])) {
    for (const [group, { peers }] of Object.entries(worker.groups)) {
      for (const peer of peers.filter((candidate) => isPeer(group, candidate))) {
        if (peer.state === 'up') waiting += 1;
        active += peer.active;
      }
    }
  }
  return { active, waiting };
}

/** Peers carry the container's name; its id stands, 12 digits long, in the peer's own id (docs/architecture.md). */
function sameContainer(peer: { container: string; id: string }, nameOrId: string): boolean {
  return peer.container === nameOrId || (/^[0-9a-f]{12,64}$/.test(nameOrId) && peer.id.split(':')[2] === nameOrId.slice(0, 12));
}
