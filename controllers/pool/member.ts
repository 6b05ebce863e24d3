import { createHash } from 'node:crypto';
import { z } from 'zod';
import { name } from '#core/names.ts';

/**
 * What an agent is told to run: one container of a service on its host. Everything in it is part of the member's identity except the
 * secrets' values: a member whose hash differs is replaced, one whose secrets differ only has its files rewritten.
 */
export const MemberSpec = z.object({
  /** `<service>-<n>`; also the container's name and, on the service's network, its host name. */
  id: name,
  kind: z.enum(['lb', 'db', 'cache', 'fs']),
  /** The service it belongs to. */
  service: name,
  /** Image by ID (`sha256:…`), never by tag: a tag would make the engine ask a registry. */
  image: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  network: z.string().min(1).max(128),
  /** Further names on the network, e.g. the service's own. */
  aliases: z.array(z.string()).default([]),
  env: z.record(z.string(), z.string()).default({}),
  /** Host ports; the engine refuses a port that is taken, the agent says so as `port_taken`. */
  publish: z
    .array(
      z.object({
        hostPort: z.number().int().min(1).max(65535),
        port: z.number().int().min(1).max(65535),
        protocol: z.enum(['tcp', 'udp']),
        hostAddress: z.string().optional(),
      }),
    )
    .default([]),
  /** Volume name → path in the container. Data lies under the host's volumes folder and outlives the container. */
  volumes: z.record(z.string().regex(/^[a-z0-9][a-z0-9-]*$/), z.string().startsWith('/')).default({}),
  /** CPUs as the engine's cpuset (`0-1`), or none for an unbound member. */
  cpuset: z.string().optional(),
  memoryBytes: z.number().int().positive().optional(),
  capabilities: z.array(z.string()).default([]),
  sysctls: z.record(z.string(), z.string()).default({}),
  /** Seconds the engine waits between SIGTERM and SIGKILL. */
  stopTimeoutSeconds: z.number().int().min(1).max(3600).default(30),
  /** Consul KV prefixes this member's own token may write; it may read its service's records and any service's health. */
  consul: z.object({ write: z.array(z.string()), read: z.array(z.string()) }).default({ write: [], read: [] }),
});
export type MemberSpec = z.infer<typeof MemberSpec>;

/** Body of `PUT /v1/members/:id`: the secrets become files in `/run/secrets` of the member (`consul_token` among them). */
export const MemberRequest = z.object({ spec: MemberSpec, secrets: z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]*$/), z.string()) });
export type MemberRequest = z.infer<typeof MemberRequest>;

/** What an agent reports of a member on its host. */
export const MemberReport = z.object({
  id: z.string(),
  kind: z.string(),
  service: z.string(),
  containerId: z.string(),
  image: z.string(),
  /** Hash of the specification it was made from, see {@link specHash}. */
  hash: z.string(),
  state: z.enum(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead']),
  health: z.enum(['starting', 'healthy', 'unhealthy', 'none']),
  startedAt: z.string(),
  address: z.string().optional(),
  exitCode: z.number().int().optional(),
  error: z.string().optional(),
});
export type MemberReport = z.infer<typeof MemberReport>;

export const MEMBER_LABELS = {
  kind: 'xcaas.kind',
  service: 'xcaas.name',
  member: 'xcaas.member',
  hash: 'xcaas.hash',
  host: 'xcaas.host',
} as const;

/** The same specification gives the same hash whatever the order of its keys. */
export function specHash(spec: MemberSpec): string {
  return createHash('sha256')
    .update(canonical(MemberSpec.parse(spec)))
    .digest('hex')
    .slice(0, 32);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(',')}}`;
  }
  return JSON.stringify(value);
}
