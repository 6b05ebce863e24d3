import type { Host } from '#pool/host.ts';

/** Members of one service that one failure takes down together. */
export interface Sharing {
  service: string;
  level: 'host' | 'rack' | 'group';
  /** Name of the host, rack or group. */
  where: string;
  members: string[];
  /** `both members share host X` */
  sentence: string;
}

/**
 * What members of a service share, the worst level only: hosts if any do, else racks, else groups. Members on hosts that are not in
 * `hosts` share nothing that could be known.
 */
export function sharingOf(members: readonly { member: string; service: string; host: string }[], hosts: readonly Host[]): Sharing[] {
  const byId = new Map(hosts.map((host) => [host.spec.id, host.spec]));
  const seats = members.flatMap(({ member, service, host }) => {
    const spec = byId.get(host);
    return spec === undefined ? [] : [{ member, service, spec }];
  });
  const levels = [
    { level: 'host', key: (spec: Host['spec']) => spec.id, where: (spec: Host['spec']) => spec.name },
    { level: 'rack', key: (spec: Host['spec']) => `${spec.group}/${spec.rack}`, where: (spec: Host['spec']) => spec.rack },
    { level: 'group', key: (spec: Host['spec']) => spec.group, where: (spec: Host['spec']) => spec.group },
  ] as const;
  for (const { level, key, where } of levels) {
    const together = new Map<string, typeof seats>();
    for (const seat of seats) together.set(key(seat.spec), [...(together.get(key(seat.spec)) ?? []), seat]);
    const shared = [...together.values()]
      .filter((some) => some.length > 1)
      .sort((a, b) => (where(a[0]!.spec) < where(b[0]!.spec) ? -1 : 1));
    if (shared.length === 0) continue;
    return shared.map((some) => {
      const ids = some.map((seat) => seat.member).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
      const place = where(some[0]!.spec);
      const who = ids.length < members.length ? list(ids) : ids.length === 2 ? 'both members' : `all ${ids.length} members`;
      const { service } = some[0]!;
      return { service, level, where: place, members: ids, sentence: `${who} share ${level} ${place}` };
    });
  }
  return [];
}

function list(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
