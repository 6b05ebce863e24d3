import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { isHttp, listenerKey } from '#xlb/listeners.ts';
import { handService, LbSpec, type Listener, type Rule, TargetGroup } from '#xlb/schema.ts';

/** Pure changes of a load balancer's specification. Each returns a new one, or throws before anything was changed. */

export interface Route {
  /** `http:80`; without it every http and https listener, or the only tcp listener. */
  listen?: string | undefined;
  host?: string | undefined;
  path?: string | undefined;
}

export const ALL_HTTP = '*';

/** The group of requests that no rule of host or path claims. */
export const DEFAULT_GROUP = 'default';

export function newSpec(fields: Pick<LbSpec, 'name' | 'replicas' | 'network' | 'listeners' | 'publish'>): LbSpec {
  const base: LbSpec = validate(
    LbSpec,
    { v: 1, ...fields, listeners: [], publish: [], groups: [], rules: [] },
    `the load balancer ${fields.name}`,
  );
  const withListeners = fields.listeners.reduce(addListener, base);
  return fields.publish.reduce(addPublish, withListeners);
}

/** A listener takes its port; http and https ones share the default group, each tcp listener has one of its own. */
export function addListener(spec: LbSpec, listener: Listener): LbSpec {
  const taken = spec.listeners.find((other) => other.port === listener.port);
  if (taken !== undefined) {
    throw new AppError('port_taken', `${spec.name} listens on port ${listener.port} already (${listenerKey(taken)})`, {
      hint: `lb listener remove ${spec.name} ${listenerKey(taken)}`,
    });
  }
  const listeners = [...spec.listeners, listener];
  const route: Required<Pick<Rule, 'listen' | 'path'>> = isHttp(listener)
    ? { listen: ALL_HTTP, path: '/' }
    : { listen: listenerKey(listener), path: '/' };
  return ensureRule({ ...spec, listeners }, { ...route, group: isHttp(listener) ? DEFAULT_GROUP : tcpGroup(listener) });
}

/** @throws AppError `not_found`; `in_use` when a published port leads to it */
export function removeListener(spec: LbSpec, listener: Listener): LbSpec {
  const key = listenerKey(listener);
  if (!spec.listeners.some((other) => listenerKey(other) === key)) {
    throw new AppError('not_found', `${spec.name} has no listener ${key}`, {
      hint: `it has ${spec.listeners.map(listenerKey).join(', ') || 'none'}`,
    });
  }
  const listeners = spec.listeners.filter((other) => listenerKey(other) !== key);
  const rules = spec.rules.filter((rule) => (rule.listen === ALL_HTTP ? listeners.some(isHttp) : rule.listen !== key));
  const publish = spec.publish.filter((published) => published.port !== listener.port);
  return dropUnusedGroups({ ...spec, listeners, rules, publish });
}

export function addPublish(spec: LbSpec, publish: LbSpec['publish'][number]): LbSpec {
  if (!spec.listeners.some((listener) => listener.port === publish.port)) {
    throw new AppError('invalid', `${publish.hostPort}:${publish.port} publishes a port that ${spec.name} does not listen on`, {
      hint: `it listens on ${spec.listeners.map(listenerKey).join(', ') || 'nothing'}; add e.g. --listen http:${publish.port}`,
    });
  }
  if (spec.publish.some((other) => other.hostPort === publish.hostPort)) {
    throw new AppError('port_taken', `${spec.name} publishes host port ${publish.hostPort} twice`);
  }
  return { ...spec, publish: [...spec.publish, publish] };
}

/**
 * The group that a route leads to, made when it does not exist, together with its rule.
 *
 * @throws AppError `invalid` when the route fits no listener, or a tcp listener is given a host or path
 */
export function ensureRoute(spec: LbSpec, route: Route): { spec: LbSpec; group: string } {
  const { host, path = '/' } = route;
  const listen = route.listen ?? defaultListen(spec, route);
  const listener = spec.listeners.find((candidate) => listenerKey(candidate) === listen);
  if (listen !== ALL_HTTP && listener === undefined) throw noListener(spec, listen);
  if (listener !== undefined && !isHttp(listener)) {
    if (host !== undefined || path !== '/') {
      throw new AppError('invalid', `${listen} of ${spec.name} carries no HTTP: it has no hosts or paths`, {
        hint: 'leave host and path away',
      });
    }
    return { spec, group: tcpGroup(listener) };
  }
  const known = spec.rules.find((rule) => rule.listen === listen && rule.host === host && rule.path === path);
  if (known !== undefined) return { spec, group: known.group };
  const group = groupName(listen, host, path);
  return { spec: ensureRule(spec, { listen, ...(host === undefined ? {} : { host }), path, group }), group };
}

/** Adds a rule that leads to a group, which is made when it is new. */
export function ensureRule(spec: LbSpec, rule: Rule): LbSpec {
  const same = (other: Rule) => other.listen === rule.listen && other.host === rule.host && other.path === rule.path;
  const existing = spec.rules.find(same);
  if (existing !== undefined && existing.group !== rule.group) {
    throw new AppError('conflict', `${describeRule(rule)} of ${spec.name} leads to ${existing.group} already`, {
      hint: `lb rule remove ${spec.name}${rule.host ? ` --host ${rule.host}` : ''} --path ${rule.path}`,
    });
  }
  const rules = existing === undefined ? [...spec.rules, rule] : spec.rules;
  const groups = spec.groups.some((group) => group.name === rule.group) ? spec.groups : [...spec.groups, newGroup(spec.name, rule.group)];
  return { ...spec, rules, groups };
}

export function removeRule(
  spec: LbSpec,
  route: { listen?: string | undefined; host?: string | undefined; path?: string | undefined },
): LbSpec {
  const { listen, host, path = '/' } = route;
  const matches = (rule: Rule) => (listen === undefined || rule.listen === listen) && rule.host === host && rule.path === path;
  if (!spec.rules.some(matches)) {
    throw new AppError('not_found', `${spec.name} has no rule for ${host ?? 'any host'}${path}`, { hint: `lb rule list ${spec.name}` });
  }
  return dropUnusedGroups({ ...spec, rules: spec.rules.filter((rule) => !matches(rule)) });
}

export function addService(spec: LbSpec, group: string, service: string): LbSpec {
  return changeGroup(spec, group, (present) =>
    present.services.includes(service) ? present : { ...present, services: [...present.services, service] },
  );
}

/** @throws AppError `not_found` when no group has the service */
export function removeService(spec: LbSpec, service: string): LbSpec {
  const isOurs = service.startsWith(`xlb-${spec.name}-`);
  if (isOurs || !spec.groups.some((group) => group.services.includes(service))) {
    throw new AppError('not_found', `${spec.name} has no service ${service}`, { hint: `lb status ${spec.name}` });
  }
  return { ...spec, groups: spec.groups.map((group) => ({ ...group, services: group.services.filter((other) => other !== service) })) };
}

export function changeGroup(spec: LbSpec, name: string, change: (group: TargetGroup) => TargetGroup): LbSpec {
  if (!spec.groups.some((group) => group.name === name)) {
    throw new AppError('not_found', `${spec.name} has no target group ${name}`, {
      hint: `it has ${spec.groups.map((g) => g.name).join(', ')}`,
    });
  }
  return {
    ...spec,
    groups: spec.groups.map((group) => (group.name === name ? validate(TargetGroup, change(group), `the target group ${name}`) : group)),
  };
}

/** What differs between two specifications in what `lb create` sets, as `field: a instead of b`; empty = the same. */
export function createDifference(present: LbSpec, asked: LbSpec): string[] {
  const view = (spec: LbSpec) => ({
    replicas: String(spec.replicas),
    network: spec.network,
    listeners: spec.listeners.map(listenerKey).toSorted().join(' ') || 'none',
    publish:
      spec.publish
        .map((p) => `${p.hostPort}:${p.port}`)
        .toSorted()
        .join(' ') || 'none',
  });
  const [a, b] = [view(present), view(asked)];
  return (Object.keys(a) as (keyof typeof a)[]).filter((key) => a[key] !== b[key]).map((key) => `${key}: ${b[key]} instead of ${a[key]}`);
}

function newGroup(lb: string, group: string): TargetGroup {
  return TargetGroup.parse({ name: group, services: [handService(lb, group)] });
}

function tcpGroup(listener: Listener): string {
  return `tcp-${listener.port}`;
}

/** A readable name, with a hash because the readable part of two routes may be the same. */
function groupName(listen: string, host: string | undefined, path: string): string {
  if (listen === ALL_HTTP && host === undefined && path === '/') return DEFAULT_GROUP;
  const text = `${listen}|${host ?? ''}|${path}`;
  const readable = `${host ?? ''}${path}`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24)
    .replace(/-+$/, '');
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 6);
  return readable === '' ? `r-${hash}` : `${readable}-${hash}`;
}

function defaultListen(spec: LbSpec, route: Route): string {
  if (spec.listeners.some(isHttp)) return ALL_HTTP;
  if (route.host !== undefined || (route.path ?? '/') !== '/') return ALL_HTTP;
  const [only, ...others] = spec.listeners;
  if (only === undefined)
    throw new AppError('invalid', `${spec.name} has no listener yet`, { hint: `lb listener add ${spec.name} http:80` });
  if (others.length > 0) {
    throw new AppError('usage', `${spec.name} has several tcp listeners: say which`, {
      hint: `add -l listen=… with one of ${spec.listeners.map(listenerKey).join(', ')}`,
    });
  }
  return listenerKey(only);
}

function noListener(spec: LbSpec, listen: string): AppError {
  return new AppError('not_found', `${spec.name} has no listener ${listen}`, {
    hint: `it has ${spec.listeners.map(listenerKey).join(', ') || 'none'}; add one with: lb listener add ${spec.name} ${listen}`,
  });
}

function dropUnusedGroups(spec: LbSpec): LbSpec {
  return { ...spec, groups: spec.groups.filter((group) => spec.rules.some((rule) => rule.group === group.name)) };
}

function describeRule(rule: Rule): string {
  return `the rule ${rule.listen} ${rule.host ?? ''}${rule.path}`;
}
