import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { streamLines } from '#api/stream.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { EVENTS_PREFIX, listEvents, type PoolEvent } from '#pool/events.ts';

const Query = z.object({
  follow: z.stringbool().default(false),
  object: z.string().optional(),
  since: z.iso.datetime().optional(),
});

/** What happened, as it is told to users. */
export async function eventRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  app.get('/v1/events', { schema: { tags: ['events'], summary: 'Events, oldest first', querystring: Query } }, async (request, reply) => {
    const { follow, ...which } = request.query;
    const filter = {
      ...(which.object === undefined ? {} : { object: which.object }),
      ...(which.since === undefined ? {} : { since: which.since }),
    };
    if (!follow) return (await listEvents(deps.consul, filter)).map(view);
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    return streamLines(reply, async (send) => {
      let after: string | undefined;
      const tell = async () => {
        for (const event of await listEvents(deps.consul, { ...filter, ...(after === undefined ? {} : { after }) })) {
          send(view(event));
          after = event.id;
        }
      };
      // The watch says only that something came; which events are new is known by their ids.
      await watchConsul({
        consul: deps.consul,
        path: `/v1/kv/${EVENTS_PREFIX}`,
        query: { keys: true },
        parse: () => undefined,
        onChange: tell,
        log: deps.log,
        signal: gone.signal,
      });
    });
  });
}

function view({ time, last, object, kind, reason, sentence, count }: PoolEvent) {
  return { time, object, kind, reason, sentence, ...(count > 1 ? { count, last } : {}) };
}
