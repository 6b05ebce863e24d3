import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import {
  addDatabase,
  addUser,
  dropDatabase,
  dropUser,
  finishRotation,
  listDatabases,
  listUsers,
  rotateUser,
} from '#xdb/operations/users.ts';

const Name = z.object({ name: z.string() });
const User = z.object({ name: z.string(), user: z.string() });
const Schema = z.object({ name: z.string(), database: z.string() });

/** Users and databases inside a database. */
export async function dbUserRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['db'];

  app.get('/v1/dbs/:name/users', { schema: { tags, summary: 'Users, without their passwords', params: Name } }, (request) =>
    listUsers(deps.db, request.params.name),
  );
  const UserBody = z.object({ user: z.string().min(1).max(128), databases: z.array(z.string().max(128)).max(100).optional() });
  app.post(
    '/v1/dbs/:name/users',
    { schema: { tags, summary: 'Make a user; the answer holds the password', params: Name, body: UserBody } },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return addUser(deps.db, request.params.name, request.body);
    },
  );
  app.post(
    '/v1/dbs/:name/users/:user/rotate',
    { schema: { tags, summary: 'A new password; the old one stays good for the time being', params: User } },
    (request, reply) => {
      reply.header('cache-control', 'no-store');
      return rotateUser(deps.db, request.params.name, request.params.user);
    },
  );
  app.post('/v1/dbs/:name/users/:user/finish', { schema: { tags, summary: 'End the old password', params: User } }, (request) =>
    finishRotation(deps.db, request.params.name, request.params.user),
  );
  app.delete('/v1/dbs/:name/users/:user', { schema: { tags, summary: 'Remove a user', params: User } }, (request) =>
    dropUser(deps.db, request.params.name, request.params.user),
  );

  app.get('/v1/dbs/:name/databases', { schema: { tags, summary: 'Databases with their sizes', params: Name } }, (request) =>
    listDatabases(deps.db, request.params.name),
  );
  const DatabaseBody = z.object({ database: z.string().min(1).max(128) });
  app.post('/v1/dbs/:name/databases', { schema: { tags, summary: 'Make a database', params: Name, body: DatabaseBody } }, (request) =>
    addDatabase(deps.db, request.params.name, request.body.database),
  );
  app.delete(
    '/v1/dbs/:name/databases/:database',
    { schema: { tags, summary: 'Remove a database with all that is in it', params: Schema } },
    (request) => dropDatabase(deps.db, request.params.name, request.params.database),
  );
}
