import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { allows, type TokenInfo, type TokenRole, verifyToken } from '#ground/tokens.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Role a bearer needs for this route; `none` = anybody. Without it: `read` for GET, `operate` for all else. */
    role?: TokenRole | 'none';
  }
  interface FastifyRequest {
    bearer?: TokenInfo;
  }
}

/** Milliseconds a token that was found good is not looked up again; a revoked one may live that much longer. */
const TRUST_MS = 5000;

/**
 * Every request needs a bearer token with the role of its route, and each one that changes something leaves a line in the audit log.
 *
 * @throws AppError `unauthenticated`, `forbidden`
 */
export function requireTokens(app: FastifyInstance, { consul, log, now }: { consul: ConsulClient; log: Logger; now(): Date }): void {
  const trusted = new Map<string, { info: TokenInfo; until: number }>();

  async function bearerOf(request: FastifyRequest): Promise<TokenInfo> {
    const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (token === undefined) {
      throw new AppError('unauthenticated', 'this request carries no token', {
        hint: 'set XCAAS_TOKEN, or use the profile that ./xcaas up wrote for the user who ran it; xcaas token create makes further ones',
      });
    }
    const time = now().getTime();
    const known = trusted.get(token);
    if (known !== undefined && known.until > time) return known.info;
    const info = await verifyToken(consul, token, now());
    if (info === undefined) {
      trusted.delete(token);
      throw new AppError('unauthenticated', 'the token is not known, was revoked or has expired', {
        hint: 'xcaas token create makes a new one',
      });
    }
    for (const [other, { until }] of trusted) if (until <= time) trusted.delete(other);
    trusted.set(token, { info, until: time + TRUST_MS });
    return info;
  }

  app.addHook('onRequest', async (request) => {
    const role = request.routeOptions.config.role ?? (isRead(request) ? 'read' : 'operate');
    if (role === 'none') return;
    const bearer = await bearerOf(request);
    if (!allows(bearer.role, role)) {
      throw new AppError('forbidden', `the token "${bearer.name}" has the role ${bearer.role}; this needs ${role}`, {
        hint: `xcaas token create NAME --role ${role}, by somebody who has the role admin`,
      });
    }
    request.bearer = bearer;
  });
  app.addHook('onResponse', async (request, reply) => {
    if (isRead(request) || request.bearer === undefined) return;
    log.info(
      { who: request.bearer.name, role: request.bearer.role, method: request.method, url: request.url, status: reply.statusCode },
      'audit',
    );
  });
}

function isRead({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}
