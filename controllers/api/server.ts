import type { FastifyInstance } from 'fastify';
import { api, createApp } from '#api/app.ts';
import type { ApiDeps } from '#api/deps.ts';
import { AppError } from '#core/errors.ts';
import { PORTS } from '#core/paths.ts';
import { type RenewRouteDeps, renewRoutes, type TlsMaterial } from '#ground/cert-rotation.ts';
import { type JoinRouteDeps, joinRoutes } from '#ground/join-routes.ts';
import { requirePeer } from '#ground/plugin.ts';
import { type PromotionRouteDeps, promotionRoutes } from '#ground/promote.ts';

export interface ServerOptions {
  address: string;
  tls: TlsMaterial;
  api: ApiDeps;
  ground: JoinRouteDeps & RenewRouteDeps & PromotionRouteDeps;
  port?: number;
}

/**
 * Control's one port. `/v1` is for the agents of the pool, which forward what users ask on their loopback: the connection carries the agent's
 * certificate, the request the user's token. `/join` is for hosts that are not of the pool yet.
 */
export async function listen({ address, tls, api: deps, ground, port = PORTS.control }: ServerOptions): Promise<FastifyInstance> {
  const { ca, cert, key } = tls.current();
  // Certificates are asked for and judged by the routes: a host that joins has none yet.
  const app = createApp(deps.log, { https: { ca, cert, key, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' } });
  tls.follow(app.server as unknown as Parameters<TlsMaterial['follow']>[0]);
  await app.register(async (scope) => {
    scope.addHook('onRequest', async (request) => {
      requirePeer(request, ['agent', 'control']);
    });
    await scope.register(api, deps);
  });
  await app.register(joinRoutes, ground);
  await app.register(renewRoutes, ground);
  await app.register(promotionRoutes, ground);
  try {
    await app.listen({ host: address, port });
  } catch (cause) {
    throw new AppError('port_taken', `control cannot listen on ${address}:${port}: ${(cause as Error).message}`, { cause });
  }
  return app;
}
