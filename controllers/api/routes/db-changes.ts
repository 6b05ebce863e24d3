import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { bytes } from '#api/routes/service.ts';
import { cutoverDb } from '#xdb/operations/cutover.ts';
import { reinitMember, resizeDb, restartDb } from '#xdb/operations/maintain.ts';
import { cancelMove, orderFailover, orderSwitchover, readMove } from '#xdb/operations/move.ts';
import { recoverDb, viewRecovery } from '#xdb/operations/recover.ts';
import { addReplica, removeReplica } from '#xdb/operations/replicas.ts';
import { upgradeDb } from '#xdb/operations/upgrade.ts';

const Name = z.object({ name: z.string() });
const Member = z.object({ name: z.string(), member: z.string() });

/** Databases: changes of the master, maintenance, sizes and parameters. */
export async function dbChangeRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  const SwitchoverBody = z.object({ to: z.string().max(100).optional(), at: z.iso.datetime({ offset: true }).optional() });
  app.post(
    '/v1/dbs/:name/switchover',
    { schema: { tags, summary: 'Change the master as planned', params: Name, body: SwitchoverBody } },
    async (request, reply) => {
      reply.code(202);
      return orderSwitchover(deps.db, request.params.name, request.body);
    },
  );
  app.post('/v1/dbs/:name/failover', { schema: { tags, summary: 'Let the slave take over', params: Name } }, async (request, reply) => {
    reply.code(202);
    return orderFailover(deps.db, request.params.name);
  });
  app.delete('/v1/dbs/:name/moves', { schema: { tags, summary: 'Call a later switchover off', params: Name } }, (request) =>
    cancelMove(deps.db, request.params.name),
  );
  const MoveParams = z.object({ name: z.string(), id: z.string() });
  app.get(
    '/v1/dbs/:name/moves/:id',
    { schema: { tags, summary: 'How far a change of the master has come', params: MoveParams } },
    (request) => readMove(deps.db, request.params.name, request.params.id),
  );

  const CutoverBody = z.object({ masterLost: z.boolean().optional() });
  app.post(
    '/v1/dbs/:name/cutover',
    { schema: { tags, summary: 'End the following of another database', params: Name, body: CutoverBody } },
    async (request, reply) => {
      reply.code(202);
      return cutoverDb(deps.db, request.params.name, request.body);
    },
  );

  const lost = z.array(z.string().max(100)).max(20).default([]);
  const RecoveryQuery = z.object({ lost: z.preprocess((value) => (typeof value === 'string' ? [value] : value), lost) });
  app.get(
    '/v1/dbs/:name/recovery',
    { schema: { tags, summary: 'What members remember of a record that Consul has lost', params: Name, querystring: RecoveryQuery } },
    (request) => viewRecovery(deps.db, request.params.name, request.query.lost),
  );
  app.post(
    '/v1/dbs/:name/recovery',
    { schema: { tags, summary: 'Write the record anew that Consul has lost', params: Name, body: z.object({ lost }) } },
    (request) => recoverDb(deps.db, request.params.name, request.body.lost),
  );

  const ReplicaBody = z.object({ delaySeconds: z.number().int().default(0) });
  app.post(
    '/v1/dbs/:name/replicas',
    { schema: { tags, summary: 'One more copy for reading', params: Name, body: ReplicaBody } },
    async (request, reply) => {
      reply.code(202);
      return addReplica(deps.db, request.params.name, request.body.delaySeconds);
    },
  );
  const ReplicaQuery = z.object({ member: z.string().max(100).optional() });
  app.delete(
    '/v1/dbs/:name/replicas',
    { schema: { tags, summary: 'Remove a copy for reading', params: Name, querystring: ReplicaQuery } },
    async (request, reply) => {
      reply.code(202);
      return removeReplica(deps.db, request.params.name, request.query.member);
    },
  );

  const RestartBody = z.object({ member: z.string().max(100).optional() });
  app.post(
    '/v1/dbs/:name/restart',
    { schema: { tags, summary: 'Restart engines, one after another', params: Name, body: RestartBody } },
    async (request, reply) => {
      reply.code(202);
      return restartDb(deps.db, request.params.name, request.body.member);
    },
  );
  app.post(
    '/v1/dbs/:name/members/:member/reinit',
    { schema: { tags, summary: 'Make the copy of a slave anew', params: Member } },
    async (request, reply) => {
      reply.code(202);
      return reinitMember(deps.db, request.params.name, request.params.member);
    },
  );
  const UpgradeBody = z.object({ image: z.string().min(1).max(300).optional() });
  app.post(
    '/v1/dbs/:name/upgrade',
    { schema: { tags, summary: 'Another image for every member, one after another', params: Name, body: UpgradeBody } },
    async (request, reply) => {
      reply.code(202);
      return upgradeDb(deps.db, request.params.name, request.body.image);
    },
  );
  const ResizeBody = z.object({ cpus: z.number().min(0).max(1024).optional(), memoryBytes: bytes.optional(), diskBytes: bytes.optional() });
  app.post(
    '/v1/dbs/:name/resize',
    { schema: { tags, summary: 'Another size for every member', params: Name, body: ResizeBody } },
    async (request, reply) => {
      const { cpus, memoryBytes, diskBytes } = await resizeDb(deps.db, request.params.name, request.body);
      reply.code(202);
      return { cpus, memoryBytes, diskBytes };
    },
  );
}
