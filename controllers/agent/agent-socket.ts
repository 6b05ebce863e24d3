import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type FastifyInstance, fastify } from 'fastify';
import type { Registry } from 'prom-client';
import type { Logger } from '#core/log.ts';
import { validate } from '#core/validate.ts';
import { answerErrors } from '#ground/plugin.ts';
import { ProbeQuery } from './probe.ts';
import type { Prober } from './remote-probe.ts';

/** The agent for members of this host: reads only, since every member may speak here, whatever its user. */
export function buildAgentSocket({ probe, registry, log }: { probe: Prober; registry: Registry; log: Logger }): FastifyInstance {
  const app = fastify({ logger: false });
  answerErrors(app, log);
  app.get('/v1/probe', (request) => probe(validate(ProbeQuery, request.query, 'the probe')));
  app.get('/metrics', async (_request, reply) => {
    reply.type(registry.contentType);
    return registry.metrics();
  });
  return app;
}

/** Listens at a unix socket that every user may connect to; what a predecessor left there is removed. */
export async function listenForMembers(app: FastifyInstance, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await rm(path, { force: true });
  await app.listen({ path });
  await chmod(path, 0o666);
}
