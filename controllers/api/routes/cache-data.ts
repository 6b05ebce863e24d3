import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { newService } from '#api/routes/service.ts';
import { backupRoutes } from '#api/routes/service-backups.ts';
import { createBackup, deleteBackup, listBackups, readBackup, setBackupPlan, verifyBackup } from '#xcache/operations/backups.ts';
import { reportBigKeys, reportHotKeys, reportSlowLog } from '#xcache/operations/reports.ts';
import { restoreCache } from '#xcache/operations/restore.ts';
import { addUser, dropUser, finishRotation, listUsers, rotateUser } from '#xcache/operations/users.ts';
import { cacheMode } from '#xcache/schema.ts';

const Name = z.object({ name: z.string() });
const User = z.object({ name: z.string(), user: z.string() });

/** Caches: users, reports, backups, and caches made from them. */
export async function cacheDataRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['cache'];
  const cache = () => deps.cache;

  app.get('/v1/caches/:name/users', { schema: { tags, summary: 'Users, without their passwords', params: Name } }, (request) =>
    listUsers(cache(), request.params.name),
  );
  const UserBody = z.object({
    user: z.string().min(1).max(128),
    readOnly: z.boolean().optional(),
    keys: z.array(z.string().max(100)).max(20).optional(),
  });
  app.post(
    '/v1/caches/:name/users',
    { schema: { tags, summary: 'Make a user, or say what one may do; the answer holds the password', params: Name, body: UserBody } },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return addUser(cache(), request.params.name, request.body);
    },
  );
  app.post(
    '/v1/caches/:name/users/:user/rotate',
    { schema: { tags, summary: 'A new password; the old one stays good for the time being', params: User } },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return rotateUser(cache(), request.params.name, request.params.user);
    },
  );
  app.post('/v1/caches/:name/users/:user/finish', { schema: { tags, summary: 'End the old password', params: User } }, (request) =>
    finishRotation(cache(), request.params.name, request.params.user),
  );
  app.delete('/v1/caches/:name/users/:user', { schema: { tags, summary: 'Remove a user', params: User } }, (request) =>
    dropUser(cache(), request.params.name, request.params.user),
  );

  const SlowQuery = z.object({ member: z.string().max(100).optional(), count: z.coerce.number().int().min(1).max(1000).optional() });
  app.get(
    '/v1/caches/:name/slow-log',
    { schema: { tags, summary: 'Commands that took long, newest first', params: Name, querystring: SlowQuery } },
    (request) => reportSlowLog(cache(), request.params.name, request.query),
  );
  const KeysQuery = z.object({
    member: z.string().max(100).optional(),
    limit: z.coerce.number().int().min(1).max(100).optional(),
    seconds: z.coerce.number().min(1).max(30).optional(),
    from: z.string().max(40).optional(),
  });
  app.get(
    '/v1/caches/:name/big-keys',
    { schema: { tags, summary: 'Keys that take most memory', params: Name, querystring: KeysQuery } },
    (request) => reportBigKeys(cache(), request.params.name, request.query),
  );
  app.get(
    '/v1/caches/:name/hot-keys',
    { schema: { tags, summary: 'Keys that are read most', params: Name, querystring: KeysQuery } },
    (request) => reportHotKeys(cache(), request.params.name, request.query),
  );

  backupRoutes(root, {
    ...{ path: '/v1/caches', kind: 'cache', verified: 'Fetch a backup and read all of it' },
    create: (name) => createBackup(deps.cache, name),
    list: (name) => listBackups(deps.cache, name),
    read: (name, id) => readBackup(deps.cache, name, id),
    delete: (name, id) => deleteBackup(deps.cache, name, id),
    verify: (name, id) => verifyBackup(deps.cache, name, id),
    plan: (name, change) => setBackupPlan(deps.cache, name, change),
  });
  const RestoreBody = z.object({
    ...newService,
    backup: z.string().max(100).optional(),
    mode: cacheMode.optional(),
    shards: z.number().int().min(1).max(500).optional(),
    replicas: z.number().int().min(0).max(5).optional(),
  });
  app.post(
    '/v1/caches/:name/restore',
    { schema: { tags, summary: 'Make a new cache from a backup of this one', params: Name, body: RestoreBody } },
    async (request, reply) => {
      reply.code(202);
      return restoreCache(cache(), { ...request.body, from: request.params.name });
    },
  );
}
