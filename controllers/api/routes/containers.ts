import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { streamLines } from '#api/stream.ts';
import { stopContainer } from '#xlb/operations/drain.ts';

const StopBody = z.object({
  drainSeconds: z.number().int().min(0).max(86_400).default(30),
  /** Seconds between SIGTERM and SIGKILL, as the engine's own default. */
  stopSeconds: z.number().int().min(0).max(3600).default(10),
});

/** Containers of users. */
export async function containerRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  app.post(
    '/v1/containers/:ref/stop',
    {
      schema: {
        tags: ['containers'],
        summary: 'Stop a container after its load balancers let its requests end; answers in JSON lines',
        params: z.object({ ref: z.string() }),
        body: StopBody,
      },
    },
    (request, reply) => streamLines(reply, (send) => stopContainer(deps.lb, request.params.ref, request.body, send)),
  );
}
