import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { createDb } from '#xdb/operations/create.ts';
import { destroyDb, undestroyDb } from '#xdb/operations/destroy.ts';
import { dbLogs, dbMetrics, dbUrl, dbView, listDbs } from '#xdb/operations/view.ts';

const Name = z.object({ name: z.string() });
const bytes = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

/** Databases: made, looked at, destroyed. */
export async function dbRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  const CreateBody = z.object({
    name: z.string(),
    cpus: z.number().min(0).max(1024).optional(),
    memoryBytes: bytes.optional(),
    diskBytes: bytes.optional(),
    image: z.string().min(1).max(300).optional(),
    options: z.record(z.string().min(1).max(200), z.string().max(4000)).optional(),
    network: z.string().optional(),
    publish: z.array(z.string()).optional(),
  });
  app.post('/v1/dbs', { schema: { tags, summary: 'Make a database', body: CreateBody } }, async (request, reply) => {
    const spec = await createDb(deps.db, request.body);
    reply.code(202);
    return { name: spec.name };
  });

  app.get('/v1/dbs', { schema: { tags, summary: 'All databases' } }, () => listDbs(deps.db));

  app.get('/v1/dbs/:name', { schema: { tags, summary: 'What a database does now', params: Name } }, (request) =>
    dbView(deps.db, request.params.name),
  );

  const UrlQuery = z.object({ replica: z.stringbool().default(false), user: z.string().max(128).optional() });
  app.get(
    '/v1/dbs/:name/url',
    {
      // A password is in it.
      config: { role: 'operate' },
      schema: { tags, summary: 'How a client gets in', params: Name, querystring: UrlQuery },
    },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return dbUrl(deps.db, request.params.name, request.query);
    },
  );

  const Lines = z.object({ lines: z.coerce.number().int().min(1).max(5000).default(100) });
  app.get(
    '/v1/dbs/:name/logs',
    { schema: { tags, summary: 'Latest log lines of the members', params: Name, querystring: Lines } },
    (request) => dbLogs(deps.db, request.params.name, request.query.lines),
  );

  const Member = z.object({ name: z.string(), member: z.string() });
  app.get(
    '/v1/dbs/:name/members/:member/metrics',
    { schema: { tags, summary: "A member's metrics, for Prometheus", params: Member } },
    async (request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return dbMetrics(deps.db, request.params.name, request.params.member);
    },
  );

  const DestroyQuery = z.object({ keepData: z.stringbool().default(false), purge: z.stringbool().default(false) });
  app.delete(
    '/v1/dbs/:name',
    { schema: { tags, summary: 'Remove a database; its data stay for a while', params: Name, querystring: DestroyQuery } },
    async (request, reply) => {
      const { sentence } = await destroyDb(deps.db, request.params.name, request.query);
      reply.code(202);
      return { name: request.params.name, sentence };
    },
  );
  app.post(
    '/v1/dbs/:name/undestroy',
    { schema: { tags, summary: 'Bring a destroyed database back while its data are kept', params: Name } },
    async (request, reply) => {
      await undestroyDb(deps.db, request.params.name);
      reply.code(202);
      return { name: request.params.name };
    },
  );
}
