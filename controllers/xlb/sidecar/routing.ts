import { AppError } from '#core/errors.ts';
import { isHttp, listenerKey } from '#xlb/listeners.ts';
import type { LbSpec, Listener, Rule } from '#xlb/schema.ts';

/** Pure: which group a request of a listener belongs to, laid out as nginx's servers and locations. */

export interface ServerPlan {
  listener: Listener;
  /** Undefined = the server of everything that no other one claims. */
  host: string | undefined;
  routes: { path: string; group: string }[];
}

/**
 * One server for each HTTP listener and host, one default server for each listener.
 *
 * The most specific host wins, then the longest path: nginx picks the server by host alone, so a server also holds the rules of less specific hosts, as far
 * as no rule of a more specific one claims their paths.
 *
 * @throws AppError `config_rejected` when two rules of one listener, host and path lead to different groups, or a rule leads to no group
 */
export function httpServers(spec: LbSpec): ServerPlan[] {
  const plans: ServerPlan[] = [];
  for (const listener of spec.listeners.filter(isHttp)) {
    const rules = rulesOf(spec, listener);
    const hosts = [...new Set(rules.map((rule) => rule.host))].filter((host) => host !== undefined);
    for (const host of [undefined, ...hosts.toSorted()]) plans.push({ listener, host, routes: routesOf(host, rules) });
  }
  return plans;
}

/** The group of each TCP listener that has one. */
export function tcpRoutes(spec: LbSpec): { port: number; group: string }[] {
  return spec.listeners
    .filter((listener) => listener.proto === 'tcp')
    .flatMap((listener) => {
      const rule = spec.rules.find((candidate) => candidate.listen === listenerKey(listener));
      return rule === undefined ? [] : [{ port: listener.port, group: rule.group }];
    });
}

/** Groups that HTTP rules lead to, and those that TCP listeners lead to. A group may be in both. */
export function groupKinds(spec: LbSpec): { http: Set<string>; tcp: Set<string> } {
  const http = new Set<string>();
  for (const listener of spec.listeners.filter(isHttp)) for (const rule of rulesOf(spec, listener)) http.add(rule.group);
  return { http, tcp: new Set(tcpRoutes(spec).map((route) => route.group)) };
}

/** Rules of the listener itself are more specific than those of every listener with the same host and path. */
function rulesOf(spec: LbSpec, listener: Listener): Rule[] {
  const key = listenerKey(listener);
  const own = unique(
    spec.rules.filter((rule) => rule.listen === key),
    spec,
  );
  const all = unique(
    spec.rules.filter((rule) => rule.listen === '*'),
    spec,
  );
  return [...own, ...all.filter((rule) => !own.some((other) => other.host === rule.host && other.path === rule.path))];
}

function unique(rules: readonly Rule[], spec: LbSpec): Rule[] {
  const byPlace = new Map<string, Rule>();
  for (const rule of rules) {
    if (!spec.groups.some((group) => group.name === rule.group)) {
      throw new AppError(
        'config_rejected',
        `the rule for ${rule.host ?? 'any host'}${rule.path} leads to the group ${rule.group}, which does not exist`,
      );
    }
    const place = `${rule.host ?? ''}${rule.path}`;
    const present = byPlace.get(place);
    if (present !== undefined && present.group !== rule.group) {
      throw new AppError(
        'config_rejected',
        `two rules for ${rule.host ?? 'any host'}${rule.path} lead to ${present.group} and ${rule.group}`,
      );
    }
    byPlace.set(place, rule);
  }
  return [...byPlace.values()];
}

function routesOf(host: string | undefined, rules: readonly Rule[]): ServerPlan['routes'] {
  const levels = [...new Set(rules.map((rule) => rule.host))].filter((other) => covers(other, host)).toSorted(bySpecificity);
  const claimed: { path: string; group: string }[] = [];
  for (const level of levels) {
    const paths = rules.filter((rule) => rule.host === level);
    // Only paths of more specific hosts shadow: within one host the longest path wins, and nginx sees to that.
    const open = paths.filter((rule) => !claimed.some((above) => rule.path.startsWith(above.path)));
    claimed.push(...open.map(({ path, group }) => ({ path, group })));
  }
  return claimed.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** Whether a pattern matches everything that `host`, itself a pattern, matches. */
function covers(pattern: string | undefined, host: string | undefined): boolean {
  if (pattern === undefined) return true;
  if (host === undefined) return false;
  if (pattern === host) return true;
  return pattern.startsWith('*.') && host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

/** The most specific first: a name, then the longest pattern, then none. */
function bySpecificity(a: string | undefined, b: string | undefined): number {
  const rank = (host: string | undefined) => (host === undefined ? -1 : host.startsWith('*.') ? host.length : 1000 + host.length);
  return rank(b) - rank(a);
}
