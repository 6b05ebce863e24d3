import type { Server } from 'node:https';
import swagger from '@fastify/swagger';
import {
  type FastifyError,
  type FastifyHttpsOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerOptions,
  fastify,
} from 'fastify';
import { hasZodFastifySchemaValidationErrors, jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { requireTokens } from '#api/auth.ts';
import type { ApiDeps } from '#api/deps.ts';
import { cacheChangeRoutes } from '#api/routes/cache-changes.ts';
import { cacheDataRoutes } from '#api/routes/cache-data.ts';
import { cacheRoutes } from '#api/routes/caches.ts';
import { containerRoutes } from '#api/routes/containers.ts';
import { dbBackupRoutes } from '#api/routes/db-backups.ts';
import { dbChangeRoutes } from '#api/routes/db-changes.ts';
import { dbUserRoutes } from '#api/routes/db-users.ts';
import { dbRoutes } from '#api/routes/dbs.ts';
import { eventRoutes } from '#api/routes/events.ts';
import { lbChangeRoutes } from '#api/routes/lb-changes.ts';
import { lbRoutes } from '#api/routes/lbs.ts';
import { nodeRoutes } from '#api/routes/nodes.ts';
import { poolRoutes } from '#api/routes/pool.ts';
import { tokenRoutes } from '#api/routes/tokens.ts';
import { AppError, errorBody, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';

/** Largest body in bytes: certificates with their chains are the largest that is asked for. */
export const BODY_LIMIT = 1024 * 1024;

/** A bare fastify application with the errors, limits and validators that all our HTTP has. */
export function createApp(log: Logger, options: FastifyServerOptions | FastifyHttpsOptions<Server> = {}): FastifyInstance {
  const app = fastify({
    bodyLimit: BODY_LIMIT,
    // A host name of a certificate has up to 253 characters; the router's own limit is 100.
    routerOptions: { maxParamLength: 512 },
    ...options,
    loggerInstance: undefined,
    logger: false,
    // A path that cannot be decoded never reaches the error handler.
    frameworkErrors(thrown, _request, reply) {
      const error = new AppError('invalid', `the path cannot be understood: ${thrown.message.slice(0, 200)}`);
      (reply as unknown as FastifyReply).code(error.status).send(errorBody(error));
    },
  } as FastifyServerOptions);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = asAppError(thrown);
    if (!error.user && error.code !== 'unavailable')
      log.error({ err: thrown, method: request.method, url: request.url }, 'a request failed');
    reply.code(error.status).send(errorBody(error));
  });
  app.setNotFoundHandler((request, reply) => {
    const error = new AppError('not_found', `there is no ${request.method} ${request.url.split('?')[0]}`, { hint: 'see /v1/openapi.json' });
    reply.code(error.status).send(errorBody(error));
  });
  return app;
}

/** The versioned API, as a plugin: `app.register(api, deps)`. */
export async function api(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  await root.register(swagger, {
    openapi: {
      info: {
        title: 'xCaaS services',
        version: deps.version,
        description: 'Load balancers, databases, caches and file storage on a pool of Docker hosts.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
  });
  root.addHook('onRequest', async (request, reply) => {
    if (deps.leading() || request.routeOptions.url === '/v1/control') return;
    const leader = await deps.leader().catch(() => undefined);
    reply.header('retry-after', '1');
    throw new AppError(
      'unavailable',
      leader === undefined ? 'no control replica leads at the moment' : `this control replica does not lead, ${leader} does`,
      {
        hint: 'try again in a few seconds',
      },
    );
  });
  requireTokens(root, deps);
  root.addHook('onResponse', async (request, reply) => {
    deps.metrics.requests.inc({ method: request.method, status: String(reply.statusCode) });
  });
  root.get('/v1/openapi.json', { config: { role: 'none' }, schema: { hide: true } }, async () => root.swagger());
  await root.register(poolRoutes, deps);
  await root.register(nodeRoutes, deps);
  await root.register(tokenRoutes, deps);
  await root.register(eventRoutes, deps);
  await root.register(containerRoutes, deps);
  await root.register(lbRoutes, deps);
  await root.register(lbChangeRoutes, deps);
  await root.register(dbRoutes, deps);
  await root.register(dbChangeRoutes, deps);
  await root.register(dbUserRoutes, deps);
  await root.register(dbBackupRoutes, deps);
  await root.register(cacheRoutes, deps);
  await root.register(cacheChangeRoutes, deps);
  await root.register(cacheDataRoutes, deps);
}

function asAppError(error: FastifyError): AppError {
  if (error instanceof AppError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const [first] = error.validation;
    const where = (first?.instancePath ?? '').split('/').filter(Boolean).join('.');
    return new AppError('invalid', `the request is wrong${where === '' ? '' : ` at ${where}`}: ${first?.message ?? 'not understood'}`);
  }
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new AppError('too_large', `the body is larger than ${BODY_LIMIT} bytes`, { hint: 'no request needs that much' });
  }
  if (typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500)
    return new AppError('invalid', error.message);
  return toAppError(error);
}
