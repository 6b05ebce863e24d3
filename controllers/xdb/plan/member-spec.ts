import { MemberSpec } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import { publishes } from '#pool/service-plan.ts';
import type { Observed } from '#xdb/plan/world.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** Seconds from SIGTERM to the end: the sidecar hands over, or lets the leader fall back, before the engine goes. */
export const STOP_SECONDS = 60;

/** The member as it is to run on the host it is placed on. */
export function memberSpec(spec: DbSpec, placement: Placement, observed: Pick<Observed, 'everything' | 'hosts'>): MemberSpec {
  const { member } = placement;
  const host = observed.hosts.find((candidate) => candidate.spec.id === placement.host);
  const keys = dbKeys(spec.name);
  return MemberSpec.parse({
    id: member,
    kind: 'db',
    service: spec.name,
    image: spec.imageId,
    network: spec.network,
    aliases: [spec.name],
    env: {
      XCAAS_KIND: 'db',
      XCAAS_NAME: spec.name,
      XCAAS_MEMBER: member,
      XCAAS_HOST: placement.host,
      XCAAS_NODE: host?.spec.name ?? placement.host,
    },
    publish: publishes(spec, placement, observed) ? spec.publish.map(({ hostPort, port }) => ({ hostPort, port, protocol: 'tcp' })) : [],
    volumes: { data: '/var/lib/xdb', backup: '/var/lib/xdb-backup' },
    // Of the placement, not of the specification: what was not reserved is not used.
    ...(placement.cpuset === undefined ? {} : { cpuset: placement.cpuset }),
    ...(placement.memoryBytes > 0 ? { memoryBytes: placement.memoryBytes } : {}),
    stopTimeoutSeconds: STOP_SECONDS,
    consul: {
      // Whose backups lie with members of another database asks Consul where those are.
      read: [keys.base, ...(spec.origin === undefined ? [] : [dbKeys(spec.origin.from).membersPrefix])],
      write: [
        ...[keys.sync, keys.leader, keys.move, keys.birth],
        ...[keys.data(member), keys.member(member), `${keys.base}acked/`, keys.backupsPrefix],
      ],
    },
  });
}
