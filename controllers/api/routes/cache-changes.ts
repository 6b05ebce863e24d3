import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { bytes, PairsBody } from '#api/routes/service.ts';
import { restartCache, scaleCache, setOptions } from '#xcache/operations/maintain.ts';
import { forceFailover, orderSwitchover, readMove } from '#xcache/operations/move.ts';
import { upgradeCache } from '#xcache/operations/upgrade.ts';

const Name = z.object({ name: z.string() });

/** Caches: changes of the master, maintenance, sizes and settings. */
export async function cacheChangeRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['cache'];

  const SwitchoverBody = z.object({ to: z.string().max(100).optional() });
  app.post(
    '/v1/caches/:name/switchover',
    { schema: { tags, summary: 'Change the master as planned', params: Name, body: SwitchoverBody } },
    async (request, reply) => {
      reply.code(202);
      return orderSwitchover(deps.cache, request.params.name, request.body.to);
    },
  );
  app.post(
    '/v1/caches/:name/failover',
    { schema: { tags, summary: 'End the master, so that a replica takes over', params: Name } },
    async (request, reply) => {
      reply.code(202);
      return forceFailover(deps.cache, request.params.name);
    },
  );
  const MoveParams = z.object({ name: z.string(), id: z.string() });
  app.get(
    '/v1/caches/:name/moves/:id',
    { schema: { tags, summary: 'How far a change of the master has come', params: MoveParams } },
    (request) => readMove(deps.cache, request.params.name, request.params.id),
  );

  const RestartBody = z.object({ member: z.string().max(100).optional(), force: z.boolean().default(false) });
  app.post(
    '/v1/caches/:name/restart',
    { schema: { tags, summary: 'Restart one member, or all one after another', params: Name, body: RestartBody } },
    async (request, reply) => {
      reply.code(202);
      return restartCache(deps.cache, request.params.name, { member: request.body.member, force: request.body.force });
    },
  );
  const UpgradeBody = z.object({ image: z.string().min(1).max(300).optional(), force: z.boolean().optional() });
  app.post(
    '/v1/caches/:name/upgrade',
    { schema: { tags, summary: 'Another image for every member, one after another', params: Name, body: UpgradeBody } },
    async (request, reply) => {
      reply.code(202);
      return upgradeCache(deps.cache, request.params.name, request.body);
    },
  );
  const ScaleBody = z.object({
    shards: z.number().int().min(1).max(500).optional(),
    replicas: z.number().int().min(0).max(5).optional(),
    cpus: z.number().min(0).max(1024).optional(),
    memoryBytes: bytes.optional(),
    diskBytes: bytes.optional(),
    force: z.boolean().optional(),
  });
  app.patch(
    '/v1/caches/:name',
    { schema: { tags, summary: 'Other numbers or sizes of members', params: Name, body: ScaleBody } },
    async (request, reply) => {
      const { name } = await scaleCache(deps.cache, request.params.name, request.body);
      reply.code(202);
      return { name };
    },
  );
  app.patch(
    '/v1/caches/:name/options',
    { schema: { tags, summary: 'What --opt of create sets', params: Name, body: PairsBody } },
    (request) => setOptions(deps.cache, request.params.name, request.body.set),
  );
}
