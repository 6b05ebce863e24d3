import type { Host } from '#pool/host.ts';

/** What a pool of this shape survives. */
export interface Shape {
  hosts: number;
  groups: number;
  managers: number;
  /** True when any one host may be lost and all services can go on. */
  survivesHost: boolean;
  /** True when any one group may be lost and all services can go on. */
  survivesGroup: boolean;
  sentence: string;
  /** What would make it survive more. */
  next: string[];
}

type ShapeHost = Pick<Host, 'spec' | 'facts'>;

/**
 * What the loss of one host or group means, from where hosts and managers (Consul servers that are Swarm managers too) stand: all that is needed is
 * that more than half of the managers are left, and a host for the members. What is broken at this moment is not asked, see
 * `xcaas status` for that.
 */
export function shapeOf(hosts: readonly ShapeHost[]): Shape {
  const managers = hosts.filter(isManager);
  const groups = countBy(hosts, ({ spec }) => spec.group);
  const managersIn = countBy(managers, ({ spec }) => spec.group);
  const workers = hosts.filter(({ spec }) => !spec.drained);
  const workersIn = countBy(workers, ({ spec }) => spec.group);

  const majority = (lost: number) => managers.length - lost > managers.length / 2;
  const survivesHost = majority(1) && hosts.every((host) => workers.some((other) => other !== host));
  const survivesGroup =
    groups.size > 1 &&
    [...groups.keys()].every((group) => majority(managersIn.get(group) ?? 0) && workers.length > (workersIn.get(group) ?? 0));

  const counts = { hosts: hosts.length, groups: groups.size, managers: managers.length };
  return { ...counts, survivesHost, survivesGroup, ...say(hosts, managers, managersIn, counts, survivesHost, survivesGroup) };
}

function say(
  hosts: readonly ShapeHost[],
  managers: readonly ShapeHost[],
  managersIn: ReadonlyMap<string, number>,
  counts: Pick<Shape, 'hosts' | 'groups' | 'managers'>,
  survivesHost: boolean,
  survivesGroup: boolean,
): Pick<Shape, 'sentence' | 'next'> {
  const add = 'xcaas join-token';
  if (counts.hosts === 0) return { sentence: 'the pool has no host', next: [add] };
  if (counts.hosts === 1) {
    return { sentence: 'one host: its loss stops everything; nothing acknowledged is lost once it is back', next: [add] };
  }
  if (counts.managers === 0) return { sentence: `${counts.hosts} hosts and no manager: records cannot be written`, next: ['xcaas doctor'] };
  const pool = `${counts.hosts} hosts in ${counts.groups} ${counts.groups === 1 ? 'group' : 'groups'}`;
  if (survivesGroup) {
    const one = survivesHost ? 'the loss of any one host or of any one group' : 'the loss of any one group';
    return { sentence: `${pool}: all services can go on after ${one}`, next: [] };
  }
  if (survivesHost) {
    const heavy = [...managersIn].find(([, count]) => count * 2 >= counts.managers)?.[0];
    if (counts.groups === 1) {
      return {
        sentence: `${pool}: all services can go on after the loss of any one host; the loss of the group stops everything`,
        next: [`${add}: a host of another group`],
      };
    }
    const stop =
      heavy === undefined ? 'the loss of a group can stop writes' : `the loss of group ${heavy} stops writes: it holds most managers`;
    const need = counts.groups === 2 ? 'a witness host of a third group' : 'more hosts outside that group';
    return {
      sentence: `${pool}: all services can go on after the loss of any one host; ${stop}; nothing acknowledged is lost`,
      next: [`${add}: ${need}`],
    };
  }
  if (managers.length <= 2) {
    const names = managers.map(({ spec }) => spec.name).sort();
    const who = names.length === 1 ? `the loss of ${names[0]}` : `the loss of ${names.join(' or of ')}`;
    const holders = names.length === 1 ? 'the only manager' : 'there must be more than one manager left';
    return {
      sentence: `${pool}: ${who} (${holders}) stops writes on the half that is left; nothing acknowledged is lost`,
      next: [hosts.length < 3 ? `${add}: a third host, of a third group if there is one` : 'xcaas doctor'],
    };
  }
  return { sentence: `${pool}: members have no other host to go to when one is lost`, next: [add] };
}

/** One that was made a manager counts from when its engine says so: until then the Swarm has one less to lose. */
function isManager({ spec, facts }: ShapeHost): boolean {
  return spec.manager && facts?.swarmManager !== false;
}

export function countBy<T>(items: readonly T[], key: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return counts;
}
