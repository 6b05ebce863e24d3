import https from 'node:https';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { z } from 'zod';
import { AppError, hasCode } from '#core/errors.ts';
import type { HostSpec } from '#core/host.ts';
import { expectOk, type JsonResponse, requestJson } from '#core/http.ts';
import { PORTS } from '#core/paths.ts';
import {
  AttachAnswer,
  AttachRequest,
  type ContainerReport,
  ContainersAnswer,
  DeleteMemberAnswer,
  DrainAnswer,
  FENCE_HEADER,
  FetchImageAnswer,
  FetchImageRequest,
  type ImageReport,
  ImagesAnswer,
  LogsAnswer,
  MembersAnswer,
  NetworkAnswer,
  PromoteAnswer,
  PutMemberAnswer,
  SwarmAnswer,
  type VolumeReport,
  VolumesAnswer,
} from '#pool/agent-api.ts';
import { HostFacts } from '#pool/host.ts';
import { type MemberReport, MemberRequest } from '#pool/member.ts';

/** PEM texts: the pool's CA, and the caller's own certificate (role `control`) with its key. */
export interface TlsMaterial {
  ca: string;
  cert: string;
  key: string;
}

export interface AgentClientOptions {
  host: Pick<HostSpec, 'id' | 'name' | 'address'>;
  /** 7401 when not given. */
  port?: number;
  /** Asked for each call, so that a rotated certificate is used at once. */
  tls(): TlsMaterial | Promise<TlsMaterial>;
  /** The lock index of the leader that calls; undefined while the caller does not lead, and then nothing can be changed. */
  fence(): number | undefined;
}

export interface CallOptions {
  /** Milliseconds, in place of {@link AGENT_DEADLINES_MS}. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Deadlines of the calls, in milliseconds. Creating a member may wait for its overlay network, for which the engine alone takes up to
 * 20 s; stopping adds to what the container itself is given; a fetched image is some hundred megabytes.
 */
export const AGENT_DEADLINES_MS = {
  read: 5000,
  change: 15_000,
  putMember: 90_000,
  stopExtra: 15_000,
  fetchImage: 900_000,
  promote: 120_000,
} as const;

/** Largest answer taken from a sidecar or agent, in bytes. */
const MAX_ANSWER = 16 * 2 ** 20;

/**
 * One host's agent. Every error is an AppError: what the agent says goes through unchanged (code, message, hint); a host that cannot be
 * reached is `unavailable` and one that does not answer in time `timeout`, both naming the host. A change without the lead is `fenced`.
 */
export interface AgentClient {
  readonly hostId: string;
  host(options?: CallOptions): Promise<HostFacts>;
  members(options?: CallOptions): Promise<MemberReport[]>;
  /** Data of members that lies on the host, whether or not they belong there. */
  volumes(options?: CallOptions): Promise<VolumeReport[]>;
  putMember(request: MemberRequest, options?: CallOptions): Promise<PutMemberAnswer>;
  /** @param purge also its data @param stopSeconds what the member's own stop may take; 30 when not given */
  deleteMember(id: string, options?: CallOptions & { purge?: boolean; stopSeconds?: number }): Promise<DeleteMemberAnswer>;
  /** The body of what the member's sidecar answers; `path` begins with `/` and may hold a query. */
  memberAdmin(id: string, method: string, path: string, body?: unknown, options?: CallOptions): Promise<unknown>;
  /** Containers by id, beginning of an id, or exact name. */
  findContainers(find: string, options?: CallOptions): Promise<ContainerReport[]>;
  attach(container: string, network: string, aliases?: string[], options?: CallOptions): Promise<AttachAnswer>;
  drain(container: string, options?: CallOptions): Promise<DrainAnswer>;
  undrain(container: string, options?: CallOptions): Promise<DrainAnswer>;
  /** @param seconds between SIGTERM and SIGKILL */
  stop(container: string, seconds: number, options?: CallOptions): Promise<void>;
  images(options?: CallOptions): Promise<ImageReport[]>;
  fetchImage(request: FetchImageRequest, options?: CallOptions): Promise<FetchImageAnswer>;
  promote(options?: CallOptions): Promise<PromoteAnswer>;
  /** The latest lines of a member's container, oldest first. */
  memberLogs(id: string, lines: number, options?: CallOptions): Promise<string[]>;
  /** A network as the host's engine knows it. @throws AppError `not_found` */
  network(name: string, options?: CallOptions): Promise<NetworkAnswer>;
  /** Of a Swarm manager: the Swarm's nodes, and what a host needs to join. */
  swarm(options?: CallOptions): Promise<SwarmAnswer>;
  /** Of a Swarm manager: makes a node a manager. */
  promoteSwarmNode(nodeId: string, options?: CallOptions): Promise<void>;
  /** Of a Swarm manager: takes a node out that is down. No error when it is not there. @throws AppError `conflict` for one that is alive */
  removeSwarmNode(nodeId: string, options?: CallOptions): Promise<void>;
}

export function createAgentClient({ host, port = PORTS.agent, tls, fence }: AgentClientOptions): AgentClient {
  const where = `the agent of ${host.name}`;

  const send = async (method: string, path: string, timeoutMs: number, body: unknown, options: CallOptions): Promise<JsonResponse> => {
    const headers: Record<string, string> = {};
    if (method !== 'GET') {
      const lead = fence();
      if (lead === undefined) {
        throw new AppError('fenced', `${host.name} was not told to change anything: this control replica does not lead`, {
          hint: 'repeat the command; the leader takes it',
        });
      }
      headers[FENCE_HEADER] = String(lead);
    }
    const material = await tls();
    try {
      return await requestJson({
        host: host.address,
        port,
        method,
        path,
        headers,
        ...(body === undefined ? {} : { body }),
        timeoutMs: options.timeoutMs ?? timeoutMs,
        maxBytes: MAX_ANSWER,
        tls: material,
        // One connection a call: calls are few, and a kept one breaks unseen while its host restarts.
        agent: new https.Agent({
          keepAlive: false,
          maxCachedSessions: 0,
          checkServerIdentity: (name, cert) => checkAgent(host, name, cert),
        }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
    } catch (error) {
      throw namingHost(error, host);
    }
  };

  const call = async <T>(
    schema: z.ZodType<T>,
    method: string,
    path: string,
    { timeoutMs, body, ...options }: CallOptions & { timeoutMs: number; body?: unknown },
  ): Promise<T> => {
    const answer = expectOk(await send(method, path, timeoutMs, body, options), where);
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw new AppError(
      'engine',
      `${where} answered ${method} ${path} with something else than was asked for: ${issue?.path.join('.')}: ${issue?.message}`,
      {
        hint: 'its version may differ too much from this one: xcaas nodes',
      },
    );
  };
  const { read, change } = AGENT_DEADLINES_MS;
  const container = (id: string, verb: string) => `/v1/containers/${encodeURIComponent(id)}/${verb}`;
  const member = (id: string) => `/v1/members/${encodeURIComponent(id)}`;

  return {
    hostId: host.id,
    host: (options) => call(HostFacts, 'GET', '/v1/host', { timeoutMs: read, ...options }),
    members: async (options) => (await call(MembersAnswer, 'GET', '/v1/members', { timeoutMs: read, ...options })).members,
    volumes: async (options) => (await call(VolumesAnswer, 'GET', '/v1/volumes', { timeoutMs: read, ...options })).volumes,
    putMember: (request, options) =>
      call(PutMemberAnswer, 'PUT', member(request.spec.id), {
        timeoutMs: AGENT_DEADLINES_MS.putMember + request.spec.stopTimeoutSeconds * 1000,
        body: MemberRequest.parse(request),
        ...options,
      }),
    deleteMember: (id, { purge = false, stopSeconds = 30, ...options } = {}) =>
      call(DeleteMemberAnswer, 'DELETE', `${member(id)}${purge ? '?purge=1' : ''}`, {
        timeoutMs: stopSeconds * 1000 + AGENT_DEADLINES_MS.stopExtra,
        ...options,
      }),
    async memberAdmin(id, method, path, body, options = {}) {
      if (!path.startsWith('/')) throw new AppError('internal', `the path "${path}" of a sidecar must begin with /`);
      const answer = await send(method, `${member(id)}/admin${path}`, method === 'GET' ? read : change, body, options);
      return expectOk(answer, `${id} on ${host.name}`);
    },
    findContainers: async (find, options) =>
      (await call(ContainersAnswer, 'GET', `/v1/containers?${new URLSearchParams({ find })}`, { timeoutMs: read, ...options })).containers,
    attach: (id, network, aliases, options) =>
      call(AttachAnswer, 'POST', container(id, 'attach'), {
        timeoutMs: AGENT_DEADLINES_MS.putMember,
        body: AttachRequest.parse({ network, ...(aliases === undefined ? {} : { aliases }) }),
        ...options,
      }),
    drain: (id, options) => call(DrainAnswer, 'POST', container(id, 'drain'), { timeoutMs: change, ...options }),
    undrain: (id, options) => call(DrainAnswer, 'POST', container(id, 'undrain'), { timeoutMs: change, ...options }),
    async stop(id, seconds, options = {}) {
      const timeoutMs = seconds * 1000 + AGENT_DEADLINES_MS.stopExtra;
      expectOk(await send('POST', container(id, 'stop'), timeoutMs, { timeoutSeconds: seconds }, options), where);
    },
    images: async (options) => (await call(ImagesAnswer, 'GET', '/v1/images', { timeoutMs: read, ...options })).images,
    fetchImage: (request, options) =>
      call(FetchImageAnswer, 'POST', '/v1/images/fetch', {
        timeoutMs: AGENT_DEADLINES_MS.fetchImage,
        body: FetchImageRequest.parse(request),
        ...options,
      }),
    memberLogs: async (id, lines, options) =>
      (await call(LogsAnswer, 'GET', `${member(id)}/logs?lines=${lines}`, { timeoutMs: read, ...options })).lines,
    network: (name, options) => call(NetworkAnswer, 'GET', `/v1/networks/${encodeURIComponent(name)}`, { timeoutMs: read, ...options }),
    swarm: (options) => call(SwarmAnswer, 'GET', '/v1/swarm', { timeoutMs: read, ...options }),
    async promoteSwarmNode(nodeId, options = {}) {
      expectOk(await send('POST', `/v1/swarm/nodes/${encodeURIComponent(nodeId)}`, change, { manager: true }, options), where);
    },
    async removeSwarmNode(nodeId, options = {}) {
      expectOk(await send('DELETE', `/v1/swarm/nodes/${encodeURIComponent(nodeId)}`, change, undefined, options), where);
    },
    promote: (options) => call(PromoteAnswer, 'POST', '/v1/ground/promote', { timeoutMs: AGENT_DEADLINES_MS.promote, ...options }),
  };
}

/** Gives the client of a host's agent. */
export type Agents = (host: { spec: AgentClientOptions['host'] }) => AgentClient;

/** Clients hold nothing open, so one is made whenever it is needed. */
export function createAgents(options: Omit<AgentClientOptions, 'host'>): Agents {
  return ({ spec }) => createAgentClient({ ...options, host: spec });
}

/**
 * Who answers must be an agent, and of this very host: any container that got the address of a dead host could else stand in with
 * another certificate of the pool.
 */
function checkAgent(host: Pick<HostSpec, 'id' | 'name'>, hostname: string, cert: PeerCertificate): Error | undefined {
  const wrong = checkServerIdentity(hostname, cert);
  if (wrong !== undefined) return wrong;
  const { OU: role, CN: holder } = cert.subject;
  if (role !== 'agent') return new Error(`its certificate is not an agent's but of the role "${role ?? ''}"`);
  if (holder !== host.id && holder !== host.name) return new Error(`its certificate belongs to another host (${holder})`);
  return undefined;
}

function namingHost(error: unknown, host: Pick<HostSpec, 'name'>): unknown {
  if (!(hasCode(error, 'unavailable') || hasCode(error, 'timeout'))) return error;
  return new AppError(error.code, `host ${host.name}: ${error.message}`, { hint: 'see what is wrong with it: xcaas nodes', cause: error });
}
