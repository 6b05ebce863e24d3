import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { errorFromBody } from '#core/http.ts';
import { PORTS } from '#core/paths.ts';
import { listHosts } from '#ground/host-record.ts';
import { ProbeAnswer, type ProbeQuery, probeTcp } from './probe.ts';
import { type Identity, readJson, requestPeer } from './tls-call.ts';

/** A TCP probe from this host, or from another one by way of its agent. */
export type Prober = (query: ProbeQuery) => Promise<ProbeAnswer>;

/** @throws by its result AppError `not_found` for an unknown host, `unavailable` when that host's agent does not answer */
export function createProber({
  consul,
  identity,
  hostId,
  port = PORTS.agent,
}: {
  consul: ConsulClient;
  identity: Identity;
  hostId: string;
  port?: number;
}): Prober {
  return async ({ host, address, timeoutMs }) => {
    if (host === undefined || host === hostId) return probeTcp(address, timeoutMs);
    const spec = (await listHosts(consul)).find(({ id, name }) => id === host || name === host);
    if (spec === undefined) throw new AppError('not_found', `the pool has no host ${host}`, { hint: 'xcaas nodes' });
    if (spec.id === hostId) return probeTcp(address, timeoutMs);
    const path = `/v1/probe?${new URLSearchParams({ address, timeoutMs: String(timeoutMs) })}`;
    const target = { host: spec.address, port, role: 'agent' as const, method: 'GET', path, timeoutMs: timeoutMs + 2000 };
    const incoming = await requestPeer(target, identity);
    const body = await readJson(incoming);
    if (incoming.statusCode !== 200) {
      throw errorFromBody({ status: incoming.statusCode ?? 0, headers: incoming.headers, body }, `the agent of ${spec.name}`);
    }
    return ProbeAnswer.parse(body);
  };
}
