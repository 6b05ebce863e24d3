import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';

/** Routes that every service with data has. */
export interface ServiceRoutes {
  /** `/v1/dbs` */
  path: string;
  /** First word of its verbs. */
  kind: string;
  /** `a database` */
  what: string;
  list(): Promise<unknown>;
  view(name: string): Promise<unknown>;
  logs(name: string, lines: number): Promise<unknown>;
  metrics(name: string, member: string): Promise<string>;
  destroy(name: string, how: { keepData: boolean; purge: boolean }): Promise<{ sentence: string }>;
  undestroy(name: string): Promise<void>;
  pause(name: string, seconds: number): Promise<unknown>;
  resume(name: string): Promise<unknown>;
  parameters(name: string): Promise<unknown>;
  setParameters(name: string, set: Record<string, string>): Promise<unknown>;
}

export const bytes = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

/** What a request for a new service says, to be spread into a body. */
export const newService = {
  name: z.string(),
  cpus: z.number().min(0).max(1024).optional(),
  memoryBytes: bytes.optional(),
  diskBytes: bytes.optional(),
  image: z.string().min(1).max(300).optional(),
  options: z.record(z.string().min(1).max(200), z.string().max(4000)).optional(),
  network: z.string().optional(),
  publish: z.array(z.string()).optional(),
};

const Name = z.object({ name: z.string() });
const Member = z.object({ name: z.string(), member: z.string() });
const Lines = z.object({ lines: z.coerce.number().int().min(1).max(5000).default(100) });
const DestroyQuery = z.object({ keepData: z.stringbool().default(false), purge: z.stringbool().default(false) });
const PauseBody = z.object({ seconds: z.number().int() });
export const PairsBody = z.object({ set: z.record(z.string().min(1).max(100), z.string().max(1000)) });

export function serviceRoutes(root: FastifyInstance, service: ServiceRoutes): void {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const { path, what } = service;
  const tags = [service.kind];
  const one = `${path}/:name`;

  app.get(path, { schema: { tags, summary: `All of the kind: ${service.kind}` } }, () => service.list());
  app.get(one, { schema: { tags, summary: `What ${what} does now`, params: Name } }, (request) => service.view(request.params.name));
  app.get(`${one}/logs`, { schema: { tags, summary: 'Latest log lines of the members', params: Name, querystring: Lines } }, (request) =>
    service.logs(request.params.name, request.query.lines),
  );
  app.get(
    `${one}/members/:member/metrics`,
    { schema: { tags, summary: "A member's metrics, for Prometheus", params: Member } },
    async (request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return service.metrics(request.params.name, request.params.member);
    },
  );

  app.delete(
    one,
    { schema: { tags, summary: `Remove ${what}; its data stay for a while`, params: Name, querystring: DestroyQuery } },
    async (request, reply) => {
      const { name } = request.params;
      const { sentence } = await service.destroy(name, request.query);
      reply.code(202);
      return { name, sentence };
    },
  );
  app.post(
    `${one}/undestroy`,
    { schema: { tags, summary: `Bring ${what} back that was destroyed, while its data are kept`, params: Name } },
    async (request, reply) => {
      const { name } = request.params;
      await service.undestroy(name);
      reply.code(202);
      return { name };
    },
  );

  app.post(`${one}/pause`, { schema: { tags, summary: 'Let failover and maintenance rest', params: Name, body: PauseBody } }, (request) =>
    service.pause(request.params.name, request.body.seconds),
  );
  app.post(`${one}/resume`, { schema: { tags, summary: 'End a pause', params: Name } }, (request) => service.resume(request.params.name));
  app.get(`${one}/parameters`, { schema: { tags, summary: 'Parameters of the engine', params: Name } }, (request) =>
    service.parameters(request.params.name),
  );
  app.patch(
    `${one}/parameters`,
    { schema: { tags, summary: 'Set parameters; an empty value is the default', params: Name, body: PairsBody } },
    (request) => service.setParameters(request.params.name, request.body.set),
  );
}
