import type { z } from 'zod';
import type { KvEntry } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { HostSpec, labelKey } from '#core/host.ts';
import type { Logger } from '#core/log.ts';
import { validate } from '#core/validate.ts';
import { sumReserved } from '#pool/capacity.ts';
import { guarded, type PoolConsul } from '#pool/guard.ts';
import { type Host, HostFacts } from '#pool/host.ts';
import { listPlacements, type Placement } from '#pool/placement-record.ts';

export const HOSTS_PREFIX = 'xcaas/hosts/';

export function hostKey(id: string, part: 'spec' | 'facts' | 'alive'): string {
  return `${HOSTS_PREFIX}${id}/${part}`;
}

/**
 * All hosts of the pool, by name, from one consistent read of their records and one of the placements.
 *
 * A host whose specification cannot be read is left out and logged, facts that cannot be read count as unknown: one broken record must
 * not stop the pool.
 */
export async function listHosts(
  consul: Pick<PoolConsul, 'kv'>,
  { placements, log }: { placements?: readonly Placement[]; log?: Pick<Logger, 'warn'> } = {},
): Promise<Host[]> {
  const [entries, placed] = await Promise.all([consul.kv.list(HOSTS_PREFIX, { consistent: true }), placements ?? listPlacements(consul)]);
  const byKey = new Map(entries.map((entry) => [entry.key, entry]));
  const hosts = entries.flatMap((entry): Host[] => {
    const id = /^xcaas\/hosts\/([^/]+)\/spec$/.exec(entry.key)?.[1];
    if (id === undefined) return [];
    const spec = readable(HostSpec, entry, log);
    if (spec === undefined) return [];
    const facts = byKey.get(hostKey(id, 'facts'));
    return [
      {
        spec,
        facts: facts === undefined ? undefined : readable(HostFacts, facts, log),
        alive: byKey.get(hostKey(id, 'alive'))?.session !== undefined,
        reserved: sumReserved(placed.filter((placement) => placement.host === id)),
      },
    ];
  });
  return hosts.sort((a, b) => (a.spec.name < b.spec.name ? -1 : a.spec.name > b.spec.name ? 1 : 0));
}

function readable<T>(schema: z.ZodType<T>, entry: KvEntry, log: Pick<Logger, 'warn'> | undefined): T | undefined {
  try {
    return parseRecord(schema, entry);
  } catch (error) {
    log?.warn({ record: entry.key, err: error }, 'a record of a host cannot be read and is left out');
    return undefined;
  }
}

/**
 * The host that a user means by its name, its id or the beginning of its id.
 *
 * @throws AppError `not_found` naming the hosts there are, `ambiguous` naming those it could be
 */
export function findHost<T extends { spec: Pick<HostSpec, 'id' | 'name'> }>(hosts: readonly T[], ref: string): T {
  const exact = hosts.find(({ spec }) => spec.id === ref) ?? hosts.find(({ spec }) => spec.name === ref);
  if (exact !== undefined) return exact;
  const some = ref.length === 0 ? [] : hosts.filter(({ spec }) => spec.id.startsWith(ref));
  if (some.length === 1) return some[0]!;
  const names = (list: readonly T[]) => list.map(({ spec }) => spec.name).join(', ');
  if (some.length > 1)
    throw new AppError('ambiguous', `"${ref}" could be any of the hosts ${names(some)}`, { hint: 'type the name of one' });
  throw new AppError('not_found', `there is no host "${ref}" in the pool${hosts.length === 0 ? '' : `; there are ${names(hosts)}`}`, {
    hint: 'xcaas nodes',
  });
}

/** Keys that are no labels: they decide about fault groups and belong to the host's own record. */
const OWN_KEYS = new Set(['node', 'group', 'rack']);

/**
 * Sets labels of a host, removes those given as undefined, and leaves the others alone. Nothing that is placed is moved.
 *
 * @throws AppError `invalid` for a key or value that cannot be one
 */
export async function setLabels(consul: PoolConsul, ref: string, changes: Readonly<Record<string, string | undefined>>): Promise<HostSpec> {
  for (const key of Object.keys(changes)) {
    validate(labelKey, key, `the label ${JSON.stringify(key.slice(0, 60))}`);
    if (OWN_KEYS.has(key)) {
      throw new AppError('invalid', `${key} is no label: it is part of the host itself`, {
        hint: 'on that host: ./xcaas up --group G --rack R',
      });
    }
  }
  return changeSpec(consul, ref, (spec) => {
    const labels: Record<string, string> = { ...spec.labels };
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined) delete labels[key];
      else labels[key] = value;
    }
    return { ...spec, labels };
  });
}

/** No new member is placed on the host; what lives there goes on. */
export async function drainHost(consul: PoolConsul, ref: string): Promise<HostSpec> {
  return changeSpec(consul, ref, (spec) => ({ ...spec, drained: true }));
}

export async function undrainHost(consul: PoolConsul, ref: string): Promise<HostSpec> {
  return changeSpec(consul, ref, (spec) => ({ ...spec, drained: false }));
}

/** Marks a host as one that is (to be) a manager; the host's agent does the rest when it is told. */
export async function setManager(consul: PoolConsul, ref: string, manager: boolean): Promise<HostSpec> {
  return changeSpec(consul, ref, (spec) => ({ ...spec, manager }));
}

/**
 * Forgets a host: its records go, nothing on the host itself is touched. Its Consul and Swarm membership are the caller's to end.
 *
 * @throws AppError `in_use` while members live there (naming them), `conflict` while its agent lives: it would write its facts again
 */
export async function removeHost(consul: PoolConsul, ref: string): Promise<HostSpec> {
  // Guarded: a member could be placed there between the look and the removal.
  return guarded(consul, async () => {
    const placements = await listPlacements(consul);
    const host = findHost(await listHosts(consul, { placements }), ref);
    const { id, name } = host.spec;
    const members = placements.filter((placement) => placement.host === id).map((placement) => placement.member);
    if (members.length > 0) {
      throw new AppError(
        'in_use',
        `${name} cannot be removed: ${members.sort().join(', ')} ${members.length === 1 ? 'lives' : 'live'} there`,
        {
          hint: `xcaas node drain ${name}, then move or destroy what lives there`,
        },
      );
    }
    if (host.alive) {
      throw new AppError('conflict', `${name} cannot be removed: its agent is running`, {
        hint: `on ${name}: ./xcaas down, then repeat this`,
      });
    }
    return { changes: [{ verb: 'delete-tree' as const, key: `${HOSTS_PREFIX}${id}/` }], result: host.spec };
  });
}

async function changeSpec(consul: PoolConsul, ref: string, change: (spec: HostSpec) => HostSpec): Promise<HostSpec> {
  const { spec } = findHost(await listHosts(consul), ref);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const entry = await consul.kv.get(hostKey(spec.id, 'spec'), { consistent: true });
    if (entry === undefined) throw new AppError('not_found', `the host ${spec.name} was removed meanwhile`);
    const next = validate(HostSpec, change(parseRecord(HostSpec, entry)), `the record of ${spec.name}`);
    const text = JSON.stringify(next);
    if (text === entry.value || (await consul.kv.cas(entry.key, text, entry.modifyIndex))) return next;
  }
  throw new AppError('cas_lost', `the record of ${spec.name} is being changed by somebody else`, { hint: 'repeat the command' });
}
