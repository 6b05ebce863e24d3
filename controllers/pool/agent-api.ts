import { z } from 'zod';
import { MemberReport } from '#pool/member.ts';

/** What is said on the agent's mutual-TLS API (docs/architecture.md): bodies of requests and answers, shared by agent and client. */

/** Carries the leader's lock index on every call that changes something; the agent refuses one below the highest it has seen. */
export const FENCE_HEADER = 'x-xcaas-fence';

/** An engine's image ID, with its algorithm. */
export const imageId = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'use an image ID, sha256:<64 hex digits>');

/** Body of every call that only has to say that it was done. */
export const Done = z.object({ ok: z.literal(true) });
export type Done = z.infer<typeof Done>;

/** `GET /v1/members` */
export const MembersAnswer = z.object({ members: z.array(MemberReport) });
export type MembersAnswer = z.infer<typeof MembersAnswer>;

/** Data of a member that lies on a host; `kept` is true while the member belongs there. Only volumes with something in them are named. */
export const VolumeReport = z.object({ member: z.string(), volumes: z.array(z.string()), kept: z.boolean() });
export type VolumeReport = z.infer<typeof VolumeReport>;

/** `GET /v1/volumes` */
export const VolumesAnswer = z.object({ volumes: z.array(VolumeReport) });
export type VolumesAnswer = z.infer<typeof VolumesAnswer>;

/**
 * `PUT /v1/members/:id`. `change` says what was done: `secrets` = only files were rewritten, `started` = it existed and did not run.
 */
export const PutMemberAnswer = z.object({
  member: MemberReport,
  change: z.enum(['created', 'replaced', 'started', 'secrets', 'none']),
});
export type PutMemberAnswer = z.infer<typeof PutMemberAnswer>;

/** `DELETE /v1/members/:id`. `removed` is false when there was no such container; that is no error. */
export const DeleteMemberAnswer = z.object({ removed: z.boolean(), purged: z.boolean() });
export type DeleteMemberAnswer = z.infer<typeof DeleteMemberAnswer>;

/** A container of a host, ours or a user's. */
export const ContainerReport = z.object({
  /** 64 hex digits. */
  id: z.string(),
  /** Without the engine's leading slash. */
  name: z.string(),
  /** Image ID. */
  image: z.string(),
  state: z.enum(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead']),
  /** Network name → the container's IPv4 address on it; empty while it does not run. */
  networks: z.record(z.string(), z.string()),
  /** TCP and UDP ports the image or the container exposes, ascending, each once. */
  ports: z.array(z.number().int().min(1).max(65535)),
  labels: z.record(z.string(), z.string()),
  /** Id of the host it runs on. */
  host: z.string(),
  /** RFC 3339; undefined when it was never started. */
  startedAt: z.string().optional(),
});
export type ContainerReport = z.infer<typeof ContainerReport>;

/**
 * `GET /v1/containers?find=X`: containers in any state whose id is X or begins with X (12 digits or fewer are taken too), or whose
 * name is exactly X. None found is an empty list, not an error.
 */
export const ContainersAnswer = z.object({ containers: z.array(ContainerReport) });
export type ContainersAnswer = z.infer<typeof ContainersAnswer>;

/** `POST /v1/containers/:id/attach` */
export const AttachRequest = z.object({ network: z.string().min(1).max(128), aliases: z.array(z.string()).optional() });
export type AttachRequest = z.infer<typeof AttachRequest>;
/** `change` is false when the container was on the network already. */
export const AttachAnswer = z.object({ address: z.string(), change: z.boolean() });
export type AttachAnswer = z.infer<typeof AttachAnswer>;

/** `POST /v1/containers/:id/drain` and `/undrain`: how many registrations in Consul were marked. */
export const DrainAnswer = z.object({ registrations: z.number().int().min(0) });
export type DrainAnswer = z.infer<typeof DrainAnswer>;

/** `POST /v1/containers/:id/stop` */
export const StopRequest = z.object({ timeoutSeconds: z.number().int().min(0).max(3600) });
export type StopRequest = z.infer<typeof StopRequest>;

export const ImageReport = z.object({
  id: imageId,
  tags: z.array(z.string()),
  sizeBytes: z.number().int().min(0),
  /** Labels of the image; none are told by agents of earlier versions. */
  labels: z.record(z.string(), z.string()).default({}),
});
export type ImageReport = z.infer<typeof ImageReport>;

/** `GET /v1/images` */
export const ImagesAnswer = z.object({ images: z.array(ImageReport) });
export type ImagesAnswer = z.infer<typeof ImagesAnswer>;

/** `POST /v1/images/fetch`: `from` are addresses of hosts whose agents may have it, tried in this order. */
export const FetchImageRequest = z.object({ id: imageId, from: z.array(z.string().min(1)), tags: z.array(z.string()).optional() });
export type FetchImageRequest = z.infer<typeof FetchImageRequest>;
/** `fetched` is false when the host had the image; `from` is the address it came from. */
export const FetchImageAnswer = z.object({
  id: imageId,
  fetched: z.boolean(),
  from: z.string().optional(),
  bytes: z.number().int().min(0).optional(),
});
export type FetchImageAnswer = z.infer<typeof FetchImageAnswer>;

/** `POST /v1/ground/promote`; `change` is false when the host was a manager already. */
export const PromoteAnswer = z.object({ change: z.boolean(), sentence: z.string() });
export type PromoteAnswer = z.infer<typeof PromoteAnswer>;

/** `GET /v1/swarm` of a manager's agent: what a further host needs to join, and who is in. */
export const SwarmAnswer = z.object({
  /** `address:port` of this manager. */
  manager: z.string(),
  workerToken: z.string(),
  nodes: z.array(z.object({ id: z.string(), manager: z.boolean(), ready: z.boolean(), address: z.string() })),
});
export type SwarmAnswer = z.infer<typeof SwarmAnswer>;

/** `POST /v1/swarm/nodes/:id`: makes a Swarm node a manager. */
export const SwarmNodeRequest = z.object({ manager: z.literal(true) });

/** `GET /v1/networks/:name`: a network as this host's engine knows it; a Swarm manager knows every overlay. */
export const NetworkAnswer = z.object({ name: z.string(), driver: z.string(), attachable: z.boolean() });
export type NetworkAnswer = z.infer<typeof NetworkAnswer>;

/** `GET /v1/members/:id/logs?lines=N`: the latest lines of a member's container, oldest first. */
export const LogsAnswer = z.object({ lines: z.array(z.string()) });
export type LogsAnswer = z.infer<typeof LogsAnswer>;
