import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { createCache } from '#xcache/operations/create.ts';
import { destroyCache, undestroyCache } from '#xcache/operations/destroy.ts';
import { cacheLogs, cacheMetrics, cacheUrl, cacheView, listCaches } from '#xcache/operations/view.ts';
import { cacheMode } from '#xcache/schema.ts';

const Name = z.object({ name: z.string() });
const bytes = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

/** Caches: made, looked at, destroyed. */
export async function cacheRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['cache'];

  const CreateBody = z.object({
    name: z.string(),
    mode: cacheMode.optional(),
    shards: z.number().int().min(1).max(500).optional(),
    replicas: z.number().int().min(0).max(5).optional(),
    cpus: z.number().min(0).max(1024).optional(),
    memoryBytes: bytes.optional(),
    diskBytes: bytes.optional(),
    image: z.string().min(1).max(300).optional(),
    options: z.record(z.string().min(1).max(200), z.string().max(4000)).optional(),
    network: z.string().optional(),
    publish: z.array(z.string()).optional(),
  });
  app.post('/v1/caches', { schema: { tags, summary: 'Make a cache', body: CreateBody } }, async (request, reply) => {
    const spec = await createCache(deps.cache, request.body);
    reply.code(202);
    return { name: spec.name };
  });

  app.get('/v1/caches', { schema: { tags, summary: 'All caches' } }, () => listCaches(deps.cache));

  app.get('/v1/caches/:name', { schema: { tags, summary: 'What a cache does now', params: Name } }, (request) =>
    cacheView(deps.cache, request.params.name),
  );

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

  const Lines = z.object({ lines: z.coerce.number().int().min(1).max(5000).default(100) });
  app.get(
    '/v1/caches/:name/logs',
    { schema: { tags, summary: 'Latest log lines of the members', params: Name, querystring: Lines } },
    (request) => cacheLogs(deps.cache, request.params.name, request.query.lines),
  );

  const Member = z.object({ name: z.string(), member: z.string() });
  app.get(
    '/v1/caches/:name/members/:member/metrics',
    { schema: { tags, summary: "A member's metrics, for Prometheus", params: Member } },
    async (request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return cacheMetrics(deps.cache, request.params.name, request.params.member);
    },
  );

  const DestroyQuery = z.object({ keepData: z.stringbool().default(false), purge: z.stringbool().default(false) });
  app.delete(
    '/v1/caches/:name',
    { schema: { tags, summary: 'Remove a cache; what is on disk stays for a while', params: Name, querystring: DestroyQuery } },
    async (request, reply) => {
      const { sentence } = await destroyCache(deps.cache, request.params.name, request.query);
      reply.code(202);
      return { name: request.params.name, sentence };
    },
  );
  app.post(
    '/v1/caches/:name/undestroy',
    { schema: { tags, summary: 'Bring a destroyed cache back while it is kept', params: Name } },
    async (request, reply) => {
      await undestroyCache(deps.cache, request.params.name);
      reply.code(202);
      return { name: request.params.name };
    },
  );
}
