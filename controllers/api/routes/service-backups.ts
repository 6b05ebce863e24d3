import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { PlanChange } from '#backup/plan.ts';

/** Routes of backups that every service with data has. */
export interface BackupRoutes {
  /** `/v1/dbs` */
  path: string;
  /** First word of its verbs. */
  kind: string;
  /** What a verification does. */
  verified: string;
  create(name: string): Promise<unknown>;
  list(name: string): Promise<unknown>;
  read(name: string, id: string): Promise<unknown>;
  delete(name: string, id: string): Promise<unknown>;
  /** @param id the newest one when not given */
  verify(name: string, id: string | undefined): Promise<unknown>;
  plan(name: string, change: PlanChange): Promise<unknown>;
}

const Name = z.object({ name: z.string() });
const Backup = z.object({ name: z.string(), id: z.string() });
const VerifyBody = z.object({ backup: z.string().max(100).optional() });
const PlanBody = z.object({
  store: z.string().min(1).max(1000).optional(),
  schedule: z.string().max(100).optional(),
  keep: z.number().int().min(1).max(365).optional(),
  verify: z.string().max(100).optional(),
});

export function backupRoutes(root: FastifyInstance, service: BackupRoutes): void {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const { path, kind } = service;
  const tags = [kind];
  const all = `${path}/:name/backups`;

  app.post(all, { schema: { tags, summary: 'Make a full backup', params: Name } }, async (request, reply) => {
    reply.code(202);
    return service.create(request.params.name);
  });
  app.get(all, { schema: { tags, summary: 'Backups, and what can be restored', params: Name } }, (request) =>
    service.list(request.params.name),
  );
  app.get(`${all}/:id`, { schema: { tags, summary: 'How far a backup has come', params: Backup } }, (request) =>
    service.read(request.params.name, request.params.id),
  );
  app.delete(`${all}/:id`, { schema: { tags, summary: 'Delete a backup', params: Backup } }, async (request, reply) => {
    reply.code(202);
    return service.delete(request.params.name, request.params.id);
  });
  app.post(
    `${path}/:name/verify`,
    { schema: { tags, summary: service.verified, params: Name, body: VerifyBody } },
    async (request, reply) => {
      reply.code(202);
      return service.verify(request.params.name, request.body.backup);
    },
  );
  app.patch(
    `${path}/:name/backup-plan`,
    { schema: { tags, summary: 'Where backups go, when they are made, how many are kept', params: Name, body: PlanBody } },
    (request) => service.plan(request.params.name, request.body),
  );
}
