import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import type { ContainerReport } from '#pool/agent-api.ts';
import { type FoundContainer, findContainer } from '#pool/containers.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { Target } from '#xlb/schema.ts';
import { ensureRoute, type Route } from '#xlb/spec.ts';
import { specKey, targetKey } from '#xlb/store.ts';

export interface AddContainerRequest extends Route {
  container: string;
  port?: number | undefined;
  weight?: number | undefined;
}

export interface AddedContainer {
  target: string;
  group: string;
  sentence: string;
}

/**
 * Links a container of the pool to a load balancer: attaches it to the load balancer's network where needed and writes the target that the agent
 * of its host registers. Asked again it changes nothing, or only the weight.
 *
 * @throws AppError `not_found`, `ambiguous`; `invalid` when its port is not known or not exposed; what the engine says when it cannot be attached
 */
export async function addContainer(deps: LbDeps, lb: string, request: AddContainerRequest): Promise<AddedContainer> {
  const { store } = deps;
  const { value: spec } = await store.spec(lb);
  if (spec.destroyed) throw new AppError('not_found', `${lb} is being removed`);
  // Before anything is changed: does the route fit, is the container there, is its port?
  ensureRoute(spec, request);
  const found = await findContainer(deps, request.container);
  const port = request.port ?? onlyPort(found.report);
  refuseUnexposed(found.report, port);
  if (found.report.labels['xcaas.kind'] === 'lb' && found.report.labels['xcaas.name'] === lb) {
    throw new AppError('invalid', `${found.report.name} is a member of ${lb} itself`);
  }
  const byName = found.report.name === request.container;
  const container = { by: byName ? ('name' as const) : ('id' as const), value: byName ? found.report.name : found.report.id };

  if (found.report.networks[spec.network] === undefined) await attach(deps, found, spec.network);
  let group = '';
  await store.specs.update(specKey(lb), (present) => {
    if (present === undefined || present.destroyed) throw new AppError('not_found', `${lb} is being removed`);
    const routed = ensureRoute(present, request);
    group = routed.group;
    return routed.spec === present ? undefined : routed.spec;
  });
  const id = targetId(container.value, port, group);
  const before = await store.targets.get(targetKey(lb, id));
  const weight = request.weight ?? before?.value.weight ?? 100;
  const target = validate(
    Target,
    { v: 1, id, lb, group, container, port, weight, network: spec.network, drain: false },
    `the target ${request.container}`,
  );
  await store.targets.update(targetKey(lb, id), () => target);
  if (before === undefined) {
    await deps.events.record({
      object: `lb/${lb}`,
      kind: 'info',
      reason: 'target_added',
      sentence: `${found.report.name}:${port} on ${found.host.spec.name} joins ${group} of ${lb}`,
    });
  }
  deps.markDirty(lb);
  const followed = byName ? 'followed by name' : 'by id, gone with this container';
  return { target: id, group, sentence: `${found.report.name}:${port} on ${found.host.spec.name} serves ${group} of ${lb} (${followed})` };
}

/**
 * The targets of a load balancer that a user's words mean.
 *
 * @throws AppError `not_found` naming the containers it has
 */
export async function matchTargets(
  deps: LbDeps,
  lb: string,
  request: { container: string; port?: number | undefined } & Route,
): Promise<Target[]> {
  const { value: spec } = await deps.store.spec(lb);
  const all = (await deps.store.targetsOf(lb)).map(({ value }) => value);
  const routed = request.listen !== undefined || request.host !== undefined || request.path !== undefined;
  const group = routed ? ensureRoute(spec, request).group : undefined;
  const named = all.filter(({ container }) => container.value === request.container);
  const prefixed = all.filter(
    ({ container }) => container.by === 'id' && request.container.length >= 4 && container.value.startsWith(request.container),
  );
  const candidates = named.length > 0 ? named : prefixed.length > 0 ? prefixed : await byContainersName(deps, all, request.container);
  const matches = candidates.filter(
    (target) => (request.port === undefined || target.port === request.port) && (group === undefined || target.group === group),
  );
  if (matches.length > 0) return matches;
  const has = [...new Set(all.map(({ container, port }) => `${container.value.slice(0, 24)}:${port}`))];
  throw new AppError('not_found', `${lb} has no container ${request.container}`, {
    hint: `it has ${has.slice(0, 10).join(', ') || 'none'}`,
  });
}

/** A target added by id may be taken out by name, and the other way round, as long as the container exists. */
async function byContainersName(deps: LbDeps, all: Target[], query: string): Promise<Target[]> {
  try {
    const { report } = await findContainer(deps, query);
    return all.filter(({ container }) => container.value === report.name || container.value === report.id);
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') return [];
    throw error;
  }
}

async function attach(deps: LbDeps, found: FoundContainer, network: string): Promise<void> {
  await deps.agent(found.host).attach(found.report.id, network);
}

function onlyPort(container: ContainerReport): number {
  const [only, ...others] = container.ports;
  if (only === undefined) {
    throw new AppError('usage', `${container.name} exposes no port: say which one it serves`, { hint: 'add -l port=8080' });
  }
  if (others.length > 0) {
    throw new AppError('usage', `${container.name} exposes the ports ${container.ports.join(', ')}: say which one`, {
      hint: `add -l port=${only}`,
    });
  }
  return only;
}

/** A container that says which ports it serves is believed; one that says nothing is not asked. */
function refuseUnexposed(container: ContainerReport, port: number): void {
  if (container.ports.length === 0 || container.ports.includes(port)) return;
  throw new AppError('invalid', `port ${port} of ${container.name} is not exposed; it exposes ${container.ports.join(', ')}`, {
    hint: `use -l port=${container.ports[0]}, or expose ${port} in its image or with docker run --expose ${port}`,
  });
}

function targetId(container: string, port: number, group: string): string {
  return `t-${createHash('sha256').update(`${container}|${port}|${group}`).digest('hex').slice(0, 12)}`;
}
