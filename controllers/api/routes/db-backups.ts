import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { newService } from '#api/routes/service.ts';
import { setBackupPlan } from '#xdb/operations/backup-plan.ts';
import { createBackup, deleteBackup, listBackups, listKeptBackups, readBackup, verifyBackup } from '#xdb/operations/backups.ts';
import { restoreDb } from '#xdb/operations/restore.ts';

/** Also `adb@HISTORY`, of a database that is gone. */
const Name = z.object({ name: z.string() });
const Backup = z.object({ name: z.string(), id: z.string() });

/** Backups of databases, and databases made from them. */
export async function dbBackupRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  app.post('/v1/dbs/:name/backups', { schema: { tags, summary: 'Make a full backup', params: Name } }, async (request, reply) => {
    reply.code(202);
    return createBackup(deps.db, request.params.name);
  });
  app.get('/v1/dbs/:name/backups', { schema: { tags, summary: 'Backups, and what can be restored', params: Name } }, (request) =>
    listBackups(deps.db, request.params.name),
  );
  app.get('/v1/dbs/:name/backups/:id', { schema: { tags, summary: 'How far a backup has come', params: Backup } }, (request) =>
    readBackup(deps.db, request.params.name, request.params.id),
  );
  app.delete('/v1/dbs/:name/backups/:id', { schema: { tags, summary: 'Delete a backup', params: Backup } }, async (request, reply) => {
    reply.code(202);
    return deleteBackup(deps.db, request.params.name, request.params.id);
  });
  const VerifyBody = z.object({ backup: z.string().max(100).optional() });
  app.post(
    '/v1/dbs/:name/verify',
    { schema: { tags, summary: 'Restore a backup for real, and look at it', params: Name, body: VerifyBody } },
    async (request, reply) => {
      reply.code(202);
      return verifyBackup(deps.db, request.params.name, request.body.backup);
    },
  );
  const PlanBody = z.object({
    store: z.string().min(1).max(1000).optional(),
    schedule: z.string().max(100).optional(),
    keep: z.number().int().min(1).max(365).optional(),
    verify: z.string().max(100).optional(),
  });
  app.patch(
    '/v1/dbs/:name/backup-plan',
    { schema: { tags, summary: 'Where backups go, when they are made, how many are kept', params: Name, body: PlanBody } },
    (request) => setBackupPlan(deps.db, request.params.name, request.body),
  );
  app.get('/v1/kept-backups', { schema: { tags, summary: 'Backups that have outlived their databases' } }, () => listKeptBackups(deps.db));

  const RestoreBody = z.object({
    ...newService,
    backup: z.string().max(100).optional(),
    at: z.iso.datetime({ offset: true }).optional(),
  });
  app.post(
    '/v1/dbs/:name/restore',
    { schema: { tags, summary: 'Make a new database from a backup of this one', params: Name, body: RestoreBody } },
    async (request, reply) => {
      reply.code(202);
      return restoreDb(deps.db, { ...request.body, from: request.params.name });
    },
  );
}
