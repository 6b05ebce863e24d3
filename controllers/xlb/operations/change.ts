import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { parseListener } from '#xlb/listeners.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { hostPattern, type LbSpec, pathPrefix } from '#xlb/schema.ts';
import { applySettings } from '#xlb/settings.ts';
import {
  ALL_HTTP,
  addListener,
  addService,
  ensureRoute,
  ensureRule,
  type Route,
  removeListener,
  removeRule,
  removeService,
} from '#xlb/spec.ts';

/** Changes of a load balancer's structure: each is a pure change of its specification, written by compare-and-set. */

export async function addListeners(deps: LbDeps, lb: string, listen: string[]): Promise<LbSpec> {
  const listeners = listen.map(parseListener);
  return change(deps, lb, `listeners ${listen.join(', ')} added`, (spec) => listeners.reduce(addListener, spec));
}

/** @throws AppError `in_use` when a target or service would be left without its group */
export async function removeListeners(deps: LbDeps, lb: string, listen: string[]): Promise<LbSpec> {
  const listeners = listen.map(parseListener);
  const targets = await deps.store.targetsOf(lb);
  return change(deps, lb, `listeners ${listen.join(', ')} removed`, (spec) => {
    const after = listeners.reduce(removeListener, spec);
    refuseOrphans(
      spec,
      after,
      targets.map(({ value }) => value),
    );
    return after;
  });
}

export async function addRule(deps: LbDeps, lb: string, rule: Route & { to: string }): Promise<LbSpec> {
  if (/[,:]/.test(rule.to))
    throw new AppError('not_implemented', 'rules with several weighted target groups are not built yet', { hint: 'name one group' });
  const host = rule.host === undefined ? undefined : validate(hostPattern, rule.host.toLowerCase(), 'the host');
  const path = validate(pathPrefix, rule.path ?? '/', 'the path');
  return change(deps, lb, `requests of ${host ?? 'any host'}${path} go to ${rule.to}`, (spec) => {
    const listen = rule.listen ?? ALL_HTTP;
    // Finds out whether the listener exists and carries HTTP; the rule itself names its own group.
    ensureRoute(spec, { listen, host, path });
    return ensureRule(spec, { listen, ...(host === undefined ? {} : { host }), path, group: rule.to });
  });
}

export async function dropRule(deps: LbDeps, lb: string, route: Route): Promise<LbSpec> {
  const targets = await deps.store.targetsOf(lb);
  return change(deps, lb, `the rule for ${route.host ?? 'any host'}${route.path ?? '/'} is removed`, (spec) => {
    const after = removeRule(spec, { ...route, host: route.host?.toLowerCase() });
    refuseOrphans(
      spec,
      after,
      targets.map(({ value }) => value),
    );
    return after;
  });
}

export async function linkService(
  deps: LbDeps,
  lb: string,
  request: Route & { service: string },
): Promise<{ spec: LbSpec; group: string }> {
  let group = '';
  const spec = await change(deps, lb, `the instances of ${request.service} are its targets`, (present) => {
    const routed = ensureRoute(present, request);
    group = routed.group;
    return addService(routed.spec, routed.group, request.service);
  });
  return { spec, group };
}

export function unlinkService(deps: LbDeps, lb: string, service: string): Promise<LbSpec> {
  return change(deps, lb, `the instances of ${service} are its targets no longer`, (spec) => removeService(spec, service));
}

export function setOptions(deps: LbDeps, lb: string, settings: Record<string, string>): Promise<LbSpec> {
  return change(
    deps,
    lb,
    `${Object.entries(settings)
      .map(([k, v]) => `${k}=${v}`)
      .join(' ')} is set`,
    (spec) => applySettings(spec, settings),
  );
}

async function change(deps: LbDeps, lb: string, sentence: string, apply: (spec: LbSpec) => LbSpec): Promise<LbSpec> {
  const spec = await deps.store.change(lb, apply);
  await deps.events.record({ object: `lb/${lb}`, kind: 'info', reason: 'changed', sentence });
  deps.markDirty(lb);
  return spec;
}

/** A group that goes away takes no targets with it silently. */
function refuseOrphans(before: LbSpec, after: LbSpec, targets: { group: string; container: { value: string } }[]): void {
  const gone = before.groups.filter((group) => !after.groups.some((left) => left.name === group.name));
  const orphan = targets.find((target) => gone.some((group) => group.name === target.group));
  if (orphan === undefined) return;
  throw new AppError('in_use', `${orphan.container.value} is served by the target group ${orphan.group}, which would go away`, {
    hint: `lb remove_container ${before.name} -l container=${orphan.container.value}`,
  });
}
