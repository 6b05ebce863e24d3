import http from 'node:http';
import Consul from 'consul';
import { z } from 'zod';
import {
  type ConsulAnswer,
  type ConsulRequest,
  type ConsulTarget,
  type ConsulTransport,
  consulAnswer,
  consulError,
  createTransport,
} from '#core/consul/transport.ts';
import { AppError, messageOf, systemCode } from '#core/errors.ts';
import { isRecord } from '#core/http.ts';
import { sleep } from '#core/sleep.ts';

export interface KvEntry {
  key: string;
  value: string;
  modifyIndex: number;
  /** Grows by one at each acquisition of the key as a lock. */
  lockIndex: number;
  /** The session that holds the lock. */
  session: string | undefined;
}

export interface ServiceRegistration {
  id: string;
  name: string;
  address: string;
  port: number;
  tags?: string[];
  meta?: Record<string, string>;
  /** Weights for passing and warning instances. */
  weights?: { passing: number; warning: number };
  check?: {
    id: string;
    name: string;
    /** Seconds after which the check is critical unless it was pushed again. */
    ttlSeconds: number;
    /** `critical` unless told otherwise: what was never seen healthy is not. */
    status?: 'passing' | 'warning' | 'critical';
    notes?: string;
    /** Seconds of being critical after which Consul forgets the service; Consul's own least is 60. */
    deregisterAfterSeconds?: number;
  };
}

export interface AgentService {
  id: string;
  name: string;
  address: string;
  port: number;
  tags: string[];
  meta: Record<string, string>;
  weights: { passing: number; warning: number };
}

export interface HealthCheck {
  checkId: string;
  status: string;
  serviceId: string;
  output: string;
}

export interface ServiceHealth {
  service: AgentService;
  node: { name: string; address: string };
  checks: HealthCheck[];
}

export interface ConsulClient {
  kv: {
    get(key: string, options?: { consistent?: boolean }): Promise<KvEntry | undefined>;
    list(prefix: string, options?: { consistent?: boolean }): Promise<KvEntry[]>;
    put(key: string, value: string): Promise<void>;
    /** @param modifyIndex the index that was read; 0 = the key must not exist. @returns false when somebody else wrote first */
    cas(key: string, value: string, modifyIndex: number): Promise<boolean>;
    /** @returns false only when `cas` was given and somebody else wrote first */
    delete(key: string, options?: { cas?: number }): Promise<boolean>;
    deleteTree(prefix: string): Promise<void>;
    acquire(key: string, value: string, session: string): Promise<boolean>;
    release(key: string, session: string): Promise<boolean>;
  };
  session: {
    /** @param ttlSeconds Consul ends the session after up to twice this time without a renewal */
    create(options: { name: string; ttlSeconds: number; behavior: 'release' | 'delete' }): Promise<string>;
    /**
     * @param options.timeoutMs milliseconds; as all calls when not given
     * @returns false when the session is gone
     */
    renew(id: string, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<boolean>;
    destroy(id: string): Promise<void>;
  };
  agent: {
    register(service: ServiceRegistration): Promise<void>;
    deregister(id: string): Promise<void>;
    /** Services registered at this host's Consul agent. */
    services(): Promise<AgentService[]>;
    /** Status of the checks at this host's Consul agent, by check id. */
    checks(): Promise<HealthCheck[]>;
    pass(checkId: string, note?: string): Promise<void>;
    warn(checkId: string, note?: string): Promise<void>;
    fail(checkId: string, note?: string): Promise<void>;
  };
  health: {
    /** All instances with all their checks. Never take an empty answer of this for the truth at once. */
    service(name: string, options?: { consistent?: boolean }): Promise<ServiceHealth[]>;
  };
  /** Everything else of Consul's HTTP API, and blocking queries. Answers of any status are returned. */
  request: ConsulTransport;
  close(): void;
}

/** Together longer than Consul takes to elect a leader with `raft_multiplier` 1. */
const READ_PAUSES_MS = [200, 400, 800, 1200];

/** Longest a plain call of the `consul` package may take, in milliseconds; a healthy local agent answers in a few. */
const CALL_TIMEOUT_MS = 5000;

/**
 * The one door to Consul. Plain calls go through the `consul` package; what it does not offer (consistent reads, deadlines of our own, blocking
 * queries) goes through `request`. Its `watch()` is not used: it has no rate limit, loses an update when a listener throws and ends for good on a 400.
 *
 * All calls throw AppError: `unavailable` (no leader, no connection), `timeout`, `forbidden` (the token lacks a right), `engine` (anything else).
 */
export function createConsul(target: ConsulTarget): ConsulClient {
  const transport = createTransport(target);
  const socketAgent = new http.Agent({
    keepAlive: true,
    ...(target.socketPath ? { socketPath: target.socketPath } : {}),
  } as http.AgentOptions);
  const library = new Consul({
    ...(target.host === undefined ? {} : { host: target.host }),
    ...(target.port === undefined ? {} : { port: target.port }),
    ...(target.token === undefined ? {} : { defaults: { token: target.token } }),
    agent: socketAgent,
  });
  const call = <T>(what: string, action: (options: { timeout: number }) => Promise<T>): Promise<T> =>
    action({ timeout: CALL_TIMEOUT_MS }).catch((error: unknown) => {
      throw libraryError(error, what);
    });
  const checkUpdate = (status: 'passing' | 'warning' | 'critical') => async (checkId: string, note?: string) => {
    const verb = { passing: 'pass', warning: 'warn', critical: 'fail' } as const;
    await call(`the check ${checkId}`, (options) =>
      library.agent.check[verb[status]]({ id: checkId, ...(note ? { note } : {}), ...options }),
    );
  };

  /** A read is asked again while Consul has no leader: it elects another one in a second or two, and reading twice harms nobody. */
  const read = async (path: string, query: ConsulRequest['query']): Promise<ConsulAnswer> => {
    for (const pauseMs of target.readPausesMs ?? READ_PAUSES_MS) {
      const answer = await transport.request('GET', path, { query });
      if (answer.status < 500) return answer;
      await sleep(pauseMs);
    }
    return transport.request('GET', path, { query });
  };

  return {
    kv: {
      async get(key, { consistent = false } = {}) {
        const answer = await read(`/v1/kv/${encodeKey(key)}`, { consistent: consistent || undefined });
        return parseKv(answer, `the key ${key}`)[0];
      },
      async list(prefix, { consistent = false } = {}) {
        const answer = await read(`/v1/kv/${encodeKey(prefix)}`, { recurse: true, consistent: consistent || undefined });
        return parseKv(answer, `the keys under ${prefix}`);
      },
      async put(key, value) {
        await expectTrue(`writing ${key}`, (options) => library.kv.set({ key: plainKey(key), value, ...options }));
      },
      async cas(key, value, modifyIndex) {
        return isTrue(`writing ${key}`, (options) => library.kv.set({ key: plainKey(key), value, cas: modifyIndex, ...options }));
      },
      async delete(key, { cas } = {}) {
        return isTrue(`deleting ${key}`, (options) =>
          library.kv.del({ key: plainKey(key), ...(cas === undefined ? {} : { cas }), ...options }),
        );
      },
      async deleteTree(prefix) {
        await call(`deleting all under ${prefix}`, (options) => library.kv.del({ key: plainKey(prefix), recurse: true, ...options }));
      },
      async acquire(key, value, session) {
        return isTrue(`locking ${key}`, (options) => library.kv.set({ key: plainKey(key), value, acquire: session, ...options }));
      },
      async release(key, session) {
        return isTrue(`unlocking ${key}`, (options) => library.kv.set({ key: plainKey(key), value: '', release: session, ...options }));
      },
    },
    session: {
      async create({ name, ttlSeconds, behavior }) {
        // Not through the package: it drops a lock delay of zero, and by default ties the session to the host's serf health,
        // which would end every session of a host that gossip merely suspects.
        const answer = await transport.request('PUT', '/v1/session/create', {
          body: { Name: name, TTL: `${ttlSeconds}s`, Behavior: behavior, LockDelay: '1ms', Checks: [], NodeChecks: [] },
        });
        if (answer.status !== 200 || !isRecord(answer.body)) throw consulError(answer, `creating the session ${name}`);
        return String(answer.body.ID);
      },
      async renew(id, options = {}) {
        const answer = await transport.request('PUT', `/v1/session/renew/${encodeURIComponent(id)}`, options);
        if (answer.status === 404) return false;
        if (answer.status !== 200) throw consulError(answer, 'renewing a session');
        return true;
      },
      async destroy(id) {
        await call('ending a session', (options) => library.session.destroy({ id, ...options }));
      },
    },
    agent: {
      async register(service) {
        const answer = await transport.request('PUT', '/v1/agent/service/register', { body: registrationBody(service) });
        if (answer.status !== 200) throw consulError(answer, `registering ${service.id}`);
      },
      async deregister(id) {
        const answer = await transport.request('PUT', `/v1/agent/service/deregister/${encodeURIComponent(id)}`);
        const unknown = answer.status === 404 || (typeof answer.body === 'string' && answer.body.includes('Unknown service'));
        if (answer.status !== 200 && !unknown) throw consulError(answer, `deregistering ${id}`);
      },
      async services() {
        const answer = await transport.request('GET', '/v1/agent/services');
        if (answer.status !== 200 || !isRecord(answer.body)) throw consulError(answer, "the agent's services");
        return Object.values(answer.body).map((service) => toAgentService(RawAgentService.parse(service)));
      },
      async checks() {
        const answer = await transport.request('GET', '/v1/agent/checks');
        if (answer.status !== 200 || !isRecord(answer.body)) throw consulError(answer, "the agent's checks");
        return Object.values(answer.body).map((check) => toCheck(RawCheck.parse(check)));
      },
      pass: checkUpdate('passing'),
      warn: checkUpdate('warning'),
      fail: checkUpdate('critical'),
    },
    health: {
      async service(name, { consistent = false } = {}) {
        const answer = await transport.request('GET', `/v1/health/service/${encodeURIComponent(name)}`, {
          query: { consistent: consistent || undefined },
        });
        if (answer.status !== 200) throw consulError(answer, `the health of ${name}`);
        return parseHealth(answer.body);
      },
    },
    request: transport.request,
    close() {
      transport.close();
      socketAgent.destroy();
      library.destroy();
    },
  };

  /** The package gives `undefined` where Consul said `false`. */
  async function isTrue(what: string, action: (options: { timeout: number }) => Promise<unknown>): Promise<boolean> {
    return (await call(what, action)) === true;
  }

  async function expectTrue(what: string, action: (options: { timeout: number }) => Promise<unknown>): Promise<void> {
    if (!(await isTrue(what, action))) throw new AppError('unavailable', `Consul did not do it: ${what}`);
  }
}

const RawKv = z.object({
  Key: z.string(),
  Value: z.string().nullable(),
  ModifyIndex: z.number(),
  LockIndex: z.number(),
  Session: z.string().optional(),
});

/** Entries of an answer of `/v1/kv/…`; a 404 is none. */
export function parseKv(answer: ConsulAnswer, what: string): KvEntry[] {
  if (answer.status === 404) return [];
  if (answer.status !== 200) throw consulError(answer, what);
  return z
    .array(RawKv)
    .parse(answer.body)
    .map((raw) => ({
      key: raw.Key,
      value: raw.Value === null ? '' : Buffer.from(raw.Value, 'base64').toString('utf8'),
      modifyIndex: raw.ModifyIndex,
      lockIndex: raw.LockIndex,
      session: raw.Session,
    }));
}

const Weights = z.object({ Passing: z.number(), Warning: z.number() }).default({ Passing: 1, Warning: 1 });
const RawAgentService = z.object({
  ID: z.string(),
  Service: z.string(),
  Address: z.string().default(''),
  Port: z.number().default(0),
  Tags: z
    .array(z.string())
    .nullish()
    .transform((tags) => tags ?? []),
  Meta: z
    .record(z.string(), z.string())
    .nullish()
    .transform((meta) => meta ?? {}),
  Weights,
});
const RawCheck = z.object({ CheckID: z.string(), Status: z.string(), ServiceID: z.string().default(''), Output: z.string().default('') });
const RawHealth = z.object({
  Node: z.object({ Node: z.string(), Address: z.string() }),
  Service: RawAgentService,
  Checks: z.array(RawCheck),
});

/** The body of `/v1/health/service/…`. */
export function parseHealth(body: unknown): ServiceHealth[] {
  return z
    .array(RawHealth)
    .parse(body)
    .map((raw) => ({
      service: toAgentService(raw.Service),
      node: { name: raw.Node.Node, address: raw.Node.Address },
      checks: raw.Checks.map(toCheck),
    }));
}

function toAgentService(raw: z.infer<typeof RawAgentService>): AgentService {
  return {
    id: raw.ID,
    name: raw.Service,
    address: raw.Address,
    port: raw.Port,
    tags: raw.Tags,
    meta: raw.Meta,
    weights: { passing: raw.Weights.Passing, warning: raw.Weights.Warning },
  };
}

function toCheck(raw: z.infer<typeof RawCheck>): HealthCheck {
  return { checkId: raw.CheckID, status: raw.Status, serviceId: raw.ServiceID, output: raw.Output };
}

/** One call with the check in it: a service that is registered before its check looks healthy in between. */
function registrationBody(service: ServiceRegistration): unknown {
  const { check, weights } = service;
  return {
    ID: service.id,
    Name: service.name,
    Address: service.address,
    Port: service.port,
    Tags: service.tags ?? [],
    Meta: service.meta ?? {},
    ...(weights ? { Weights: { Passing: weights.passing, Warning: weights.warning } } : {}),
    ...(check
      ? {
          Check: {
            CheckID: check.id,
            Name: check.name,
            TTL: `${check.ttlSeconds}s`,
            Status: check.status ?? 'critical',
            ...(check.notes ? { Notes: check.notes } : {}),
            ...(check.deregisterAfterSeconds ? { DeregisterCriticalServiceAfter: `${check.deregisterAfterSeconds}s` } : {}),
          },
        }
      : {}),
  };
}

/** Keys are paths: each segment is encoded, the slashes stay. */
function encodeKey(key: string): string {
  return plainKey(key).split('/').map(encodeURIComponent).join('/');
}

/**
 * @throws AppError `invalid` for a key with segments that HTTP servers resolve (`..`, `.`, `//`), even encoded: what they lead to is another key; and
 * for one with characters that are not printable, which Consul refuses
 */
function plainKey(key: string): string {
  if (/(^|\/)\.{1,2}(\/|$)|\/\/|^\/|[\p{C}\p{Zl}\p{Zp}]/u.test(key)) {
    throw new AppError('invalid', `${JSON.stringify(key.slice(0, 200))} cannot be a key of Consul's`);
  }
  return key;
}

function libraryError(error: unknown, what: string): AppError {
  if (error instanceof AppError) return error;
  const status = isRecord(error) && typeof error.statusCode === 'number' ? error.statusCode : undefined;
  if (status !== undefined) {
    const body = isRecord(error) && isRecord(error.response) ? error.response.body : undefined;
    return consulError(consulAnswer(status, {}, typeof body === 'string' ? body : messageOf(error)), what);
  }
  const isTimeout = isRecord(error) && (error.isTimeout === true || systemCode(error) === 'ETIMEDOUT');
  return new AppError(isTimeout ? 'timeout' : 'unavailable', `Consul did not answer ${what}: ${messageOf(error)}`, { cause: error });
}
