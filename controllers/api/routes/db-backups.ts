import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { newService } from '#api/routes/service.ts';
import { backupRoutes } from '#api/routes/service-backups.ts';
import { setBackupPlan } from '#xdb/operations/backup-plan.ts';
import { createBackup, deleteBackup, listBackups, listKeptBackups, readBackup, verifyBackup } from '#xdb/operations/backups.ts';
import { restoreDb } from '#xdb/operations/restore.ts';

/** Also `adb@HISTORY`, of a database that is gone. */
const Name = z.object({ name: z.string() });

/** Backups of databases, and databases made from them. */
export async function dbBackupRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  backupRoutes(root, {
    ...{ path: '/v1/dbs', kind: 'db', verified: 'Restore a backup for real, and look at it' },
    create: (name) => createBackup(deps.db, name),
    list: (name) => listBackups(deps.db, name),
    read: (name, id) => readBackup(deps.db, name, id),
    delete: (name, id) => deleteBackup(deps.db, name, id),
    verify: (name, id) => verifyBackup(deps.db, name, id),
    plan: (name, change) => setBackupPlan(deps.db, name, change),
  });
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
