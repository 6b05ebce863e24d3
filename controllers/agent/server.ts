import https from 'node:https';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { type FastifyInstance, fastify } from 'fastify';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { peerOf } from '#ground/ca.ts';
import { answerErrors } from '#ground/plugin.ts';
import { FENCE_HEADER } from '#pool/agent-api.ts';
import type { Fence } from './fence.ts';
import type { AgentMetrics } from './metrics.ts';
import { authorize } from './peer.ts';
import { type ContainerRouteDeps, containerRoutes } from './routes/containers.ts';
import { type HostRouteDeps, hostRoutes } from './routes/host.ts';
import { type MemberRouteDeps, memberRoutes } from './routes/members.ts';
import { swarmRoutes } from './routes/swarm.ts';
import type { Identity } from './tls-call.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Throws when a later leader has spoken since the request was admitted; for actions that waited for their turn. */
    proceed: () => void;
  }
}

interface ServerDeps {
  identity: Identity & { follow(server: { setSecureContext(options: SecureContextOptions): void }): void };
  fence: Fence;
  log: Logger;
  metrics?: Pick<AgentMetrics, 'requests'>;
}

export type AgentServerDeps = ServerDeps & MemberRouteDeps & ContainerRouteDeps & HostRouteDeps;

/** Largest body of a call, in bytes: a member's specification with its secrets and certificates. */
const BODY_LIMIT = 4 * 2 ** 20;

/**
 * The agent's API for control. Connections without a certificate of the pool's CA end in the TLS handshake; of those with one, only control's are
 * obeyed, and of those only the one with the highest fence so far.
 */
export function buildAgentServer(deps: AgentServerDeps): FastifyInstance {
  const { identity, fence, log, metrics } = deps;
  const app = fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    serverFactory(handler) {
      const server = https.createServer(
        { ...identity.current(), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
        handler,
      );
      identity.follow(server);
      return server;
    },
  });
  answerErrors(app, log);
  app.decorateRequest('proceed');
  app.addHook('onRequest', async (request) => {
    const peer = peerOf(request.raw.socket as TLSSocket);
    if (peer === undefined) {
      throw new AppError('forbidden', 'the certificate of this connection names no role in this pool (OU=control or OU=agent)');
    }
    authorize(peer.role, request.method, request.url.split('?')[0]!);
    request.proceed = () => undefined;
    if (request.method === 'GET' || request.method === 'HEAD') return;
    const admitted = await fence.admit(request.headers[FENCE_HEADER]);
    request.proceed = () => fence.hold(admitted);
  });
  app.addHook('onResponse', async (request, reply) => {
    metrics?.requests.inc({ method: request.method, status: String(reply.statusCode) });
  });
  app.setNotFoundHandler((request) => {
    throw new AppError('not_found', `the agent has no ${request.method} ${request.url.split('?')[0]}`, {
      hint: 'its version may differ from the one that asks: xcaas nodes',
    });
  });
  app.register(memberRoutes, deps);
  app.register(containerRoutes, deps);
  app.register(hostRoutes, deps);
  app.register(swarmRoutes, deps);
  return app;
}
