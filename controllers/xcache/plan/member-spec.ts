import { MemberSpec } from '#pool/member.ts';
import type { Placement } from '#pool/placement-record.ts';
import { publishes } from '#pool/service-plan.ts';
import type { Observed } from '#xcache/plan/world.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { cacheKeys, writtenByMember } from '#xcache/store.ts';

/** Seconds from SIGTERM to the end: the sidecar hands over, and what is to be kept is written down. */
export const STOP_SECONDS = 40;

/** The member as it is to run on the host it is placed on. */
export function memberSpec(spec: CacheSpec, placement: Placement, observed: Pick<Observed, 'everything' | 'hosts'>): MemberSpec {
  const { member } = placement;
  const host = observed.hosts.find((candidate) => candidate.spec.id === placement.host);
  return MemberSpec.parse({
    id: member,
    kind: 'cache',
    service: spec.name,
    image: spec.imageId,
    network: spec.network,
    aliases: [spec.name],
    env: {
      XCAAS_KIND: 'cache',
      XCAAS_NAME: spec.name,
      XCAAS_MEMBER: member,
      XCAAS_HOST: placement.host,
      XCAAS_NODE: host?.spec.name ?? placement.host,
      XCAAS_MODE: spec.mode,
      XCAAS_TLS: spec.tls ? 'on' : 'off',
      ...(host === undefined ? {} : { XCAAS_GROUP: host.spec.group }),
      ...(spec.tls ? { XCAAS_TLS: 'on' } : {}),
      // Of the placement: the engine is not given more than its container has, whatever the specification says meanwhile.
      XCAAS_MEMORY_BYTES: String(placement.memoryBytes),
      // A restart is a container that is made anew.
      XCAAS_RESTART: String(spec.restartSerial),
    },
    publish: publishes(spec, placement, observed) ? spec.publish.map(({ hostPort, port }) => ({ hostPort, port, protocol: 'tcp' })) : [],
    volumes: { data: '/var/lib/xcache', backup: '/var/lib/xcache-backup' },
    // Of the placement, not of the specification: what was not reserved is not used.
    ...(placement.cpuset === undefined ? {} : { cpuset: placement.cpuset }),
    ...(placement.memoryBytes > 0 ? { memoryBytes: placement.memoryBytes } : {}),
    stopTimeoutSeconds: STOP_SECONDS,
    consul: {
      // Whose backups lie with members of another cache asks Consul where those are.
      read: [cacheKeys(spec.name).base, ...(spec.origin === undefined ? [] : [cacheKeys(spec.origin.from).membersPrefix])],
      write: writtenByMember(spec.name, member),
    },
  });
}
