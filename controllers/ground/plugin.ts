import type { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError, errorBody, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { type Peer, peerOf, type Role } from '#ground/ca.ts';

/** Errors of a set of routes, in the one form that errors have on the wire. */
export function answerErrors(app: FastifyInstance, log: Logger): void {
  app.setErrorHandler((cause, request, reply) => {
    const status = (cause as { statusCode?: unknown }).statusCode;
    // Fastify's own, such as a body that is not JSON.
    const own = !(cause instanceof AppError) && typeof status === 'number' && status >= 400 && status < 500;
    const error = own ? new AppError('invalid', (cause as Error).message) : toAppError(cause);
    if (!error.user) log.error({ err: cause, method: request.method, route: request.routeOptions.url }, 'a request failed');
    return reply.code(error.status).send(errorBody(error));
  });
}

/**
 * Who calls, by the certificate of the connection.
 *
 * @throws AppError `forbidden` for no certificate of the pool's CA, or one of another role
 */
export function requirePeer(request: FastifyRequest, roles: Role[]): Peer {
  const peer = peerOf(request.raw.socket as TLSSocket);
  if (peer !== undefined && roles.includes(peer.role)) return peer;
  throw new AppError('forbidden', `this call needs a certificate of the pool with the role ${roles.join(' or ')}`);
}
