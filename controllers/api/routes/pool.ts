import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { ApiDeps } from '#api/deps.ts';
import { shapeOf } from '#pool/shape.ts';
import { listCaches } from '#xcache/operations/view.ts';
import { listDbs } from '#xdb/operations/view.ts';
import { listLbs } from '#xlb/operations/view.ts';

/** The pool as a whole. */
export async function poolRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['pool'];

  app.get('/v1/control', { config: { role: 'none' }, schema: { tags, summary: 'Whether this control replica leads' } }, async () => ({
    leading: deps.leading(),
    version: deps.version,
  }));

  app.get('/v1/version', { schema: { tags, summary: 'Version of the control plane' } }, async () => ({ version: deps.version }));

  app.get('/v1/metrics', { schema: { tags, summary: 'Metrics of the control plane, for Prometheus' } }, async (_request, reply) => {
    reply.type(deps.metrics.registry.contentType);
    return deps.metrics.registry.metrics();
  });

  app.get('/v1/status', { schema: { tags, summary: 'The pool, and every service in a sentence' } }, async () => {
    const [hosts, lbs, dbs, caches] = await Promise.all([deps.hosts(), listLbs(deps.lb), listDbs(deps.db), listCaches(deps.cache)]);
    const shape = shapeOf(hosts);
    const down = hosts.filter((host) => !host.alive);
    const services = [
      ...lbs.map(({ name, status, sentence }) => ({ kind: 'lb', name, status, sentence })),
      ...dbs.map(({ name, status, sentence }) => ({ kind: 'db', name, status, sentence })),
      ...caches.map(({ name, status, sentence }) => ({ kind: 'cache', name, status, sentence })),
    ];
    const bad = services.filter(({ status }) => status !== 'READY' && status !== 'PAUSED');
    const hostsSay =
      down.length === 0
        ? `${hosts.length} of ${hosts.length} hosts answer`
        : `${down.map((host) => host.spec.name).join(', ')} of ${hosts.length} hosts do not answer`;
    const servicesSay =
      bad.length === 0
        ? `${services.length} services as wanted`
        : `${bad.map((each) => `${each.kind}/${each.name}`).join(', ')} not as wanted`;
    return {
      status: down.length === 0 && bad.length === 0 ? 'READY' : 'DEGRADED',
      sentence: `${hostsSay}; ${servicesSay}`,
      survives: shape.sentence,
      nodes: hosts.length,
      services,
      next: [
        ...bad.slice(0, 3).map((each) => `${each.kind} status ${each.name}`),
        ...(down.length > 0 ? ['xcaas nodes'] : []),
        ...shape.next,
      ],
    };
  });
}
