import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { newService, serviceRoutes } from '#api/routes/service.ts';
import { createCache } from '#xcache/operations/create.ts';
import { destroyCache, undestroyCache } from '#xcache/operations/destroy.ts';
import { pauseCache, resumeCache } from '#xcache/operations/maintain.ts';
import { listParameters, setParameters } from '#xcache/operations/parameters.ts';
import { cacheLogs, cacheMetrics, cacheUrl, cacheView, listCaches } from '#xcache/operations/view.ts';
import { cacheMode } from '#xcache/schema.ts';

const Name = z.object({ name: z.string() });

/** Caches: made, looked at, destroyed. */
export async function cacheRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['cache'];

  const CreateBody = z.object({
    ...newService,
    mode: cacheMode.optional(),
    shards: z.number().int().min(1).max(500).optional(),
    replicas: z.number().int().min(0).max(5).optional(),
  });
  app.post('/v1/caches', { schema: { tags, summary: 'Make a cache', body: CreateBody } }, async (request, reply) => {
    const spec = await createCache(deps.cache, request.body);
    reply.code(202);
    return { name: spec.name };
  });

  const UrlQuery = z.object({ user: z.string().max(128).optional() });
  app.get(
    '/v1/caches/:name/url',
    {
      // A password is in it.
      config: { role: 'operate' },
      schema: { tags, summary: 'How clients get in', params: Name, querystring: UrlQuery },
    },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return cacheUrl(deps.cache, request.params.name, request.query.user);
    },
  );

  serviceRoutes(root, {
    ...{ path: '/v1/caches', kind: 'cache', what: 'a cache' },
    list: () => listCaches(deps.cache),
    view: (name) => cacheView(deps.cache, name),
    logs: (name, lines) => cacheLogs(deps.cache, name, lines),
    metrics: (name, member) => cacheMetrics(deps.cache, name, member),
    destroy: (name, how) => destroyCache(deps.cache, name, how),
    undestroy: (name) => undestroyCache(deps.cache, name),
    pause: (name, seconds) => pauseCache(deps.cache, name, seconds),
    resume: (name) => resumeCache(deps.cache, name),
    parameters: (name) => listParameters(deps.cache, name),
    setParameters: (name, set) => setParameters(deps.cache, name, set),
  });
}
