import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { newService, serviceRoutes } from '#api/routes/service.ts';
import { createDb } from '#xdb/operations/create.ts';
import { destroyDb, undestroyDb } from '#xdb/operations/destroy.ts';
import { pauseDb, resumeDb } from '#xdb/operations/maintain.ts';
import { listParameters, setParameters } from '#xdb/operations/parameters.ts';
import { dbLogs, dbMetrics, dbUrl, dbView, listDbs } from '#xdb/operations/view.ts';

const Name = z.object({ name: z.string() });

/** Databases: made, looked at, destroyed. */
export async function dbRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  app.post('/v1/dbs', { schema: { tags, summary: 'Make a database', body: z.object(newService) } }, async (request, reply) => {
    const spec = await createDb(deps.db, request.body);
    reply.code(202);
    return { name: spec.name };
  });

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

  serviceRoutes(root, {
    ...{ path: '/v1/dbs', kind: 'db', what: 'a database' },
    list: () => listDbs(deps.db),
    view: (name) => dbView(deps.db, name),
    logs: (name, lines) => dbLogs(deps.db, name, lines),
    metrics: (name, member) => dbMetrics(deps.db, name, member),
    destroy: (name, how) => destroyDb(deps.db, name, how),
    undestroy: (name) => undestroyDb(deps.db, name),
    pause: (name, seconds) => pauseDb(deps.db, name, seconds),
    resume: (name) => resumeDb(deps.db, name),
    parameters: (name) => listParameters(deps.db, name),
    setParameters: (name, set) => setParameters(deps.db, name, set),
  });
}
