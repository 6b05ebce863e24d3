import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { AppError } from '#core/errors.ts';
import { name as memberName } from '#core/names.ts';
import { createLb } from '#xlb/operations/create.ts';
import { destroyLb } from '#xlb/operations/destroy.ts';
import { askMembers, lbLogs, lbView, listLbs, memberMetrics, mergePeers } from '#xlb/operations/view.ts';
import { targetKey } from '#xlb/store.ts';

const Name = z.object({ name: z.string() });

/** Load balancers: made, looked at, destroyed. */
export async function lbRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['lb'];

  const CreateBody = z.object({
    name: z.string(),
    listen: z.array(z.string()).optional(),
    replicas: z.number().int().optional(),
    network: z.string().optional(),
    publish: z.array(z.string()).optional(),
  });
  app.post('/v1/lbs', { schema: { tags, summary: 'Make a load balancer', body: CreateBody } }, async (request, reply) => {
    const spec = await createLb(deps.lb, request.body);
    reply.code(202);
    return { name: spec.name };
  });

  app.get('/v1/lbs', { schema: { tags, summary: 'All load balancers' } }, () => listLbs(deps.lb));

  app.get('/v1/lbs/:name', { schema: { tags, summary: 'What a load balancer does now', params: Name } }, (request) =>
    lbView(deps.lb, request.params.name),
  );

  app.get('/v1/lbs/:name/peers', { schema: { tags, summary: "Each worker's own table", params: Name } }, async (request) => {
    await deps.lb.store.spec(request.params.name);
    const members = await askMembers(deps.lb, request.params.name);
    return members.map((member) => ({
      member: member.id,
      node: member.host.spec.name,
      ...(member.error === undefined ? {} : { error: member.error }),
      workers: member.peers?.workers ?? [],
    }));
  });

  const TargetParams = z.object({ name: z.string(), target: z.string() });
  app.get(
    '/v1/lbs/:name/targets/:target',
    { schema: { tags, summary: 'Whether a target is live', params: TargetParams } },
    async (request) => {
      const { name, target: id } = request.params;
      await deps.lb.store.spec(name);
      const stored = memberName.safeParse(id).success ? await deps.lb.store.targets.get(targetKey(name, id)) : undefined;
      if (stored === undefined) throw new AppError('not_found', `${name} has no target ${id}`);
      const target = stored.value;
      const members = await askMembers(deps.lb, name);
      const silent = members.filter((member) => member.peers === undefined);
      const { by, value } = target.container;
      const isTarget = (peer: { container: string; id: string; address: string }) =>
        peer.address.endsWith(`:${target.port}`) &&
        (by === 'name' ? peer.container === value : peer.id.split(':')[2] === value.slice(0, 12));
      const seen = members.map((member) => mergePeers([member], target.group).find(isTarget));
      const up = seen.filter((peer) => peer?.state === 'up').length;
      // The peer may be in the tables before the rule that leads to it is.
      const { modifyIndex } = await deps.lb.store.spec(name);
      const late = members.some((member) => member.peers !== undefined && (member.status?.specIndex ?? 0) < modifyIndex);
      const live = members.length > 0 && up === members.length - silent.length && up > 0 && !late;
      return {
        id,
        live,
        sentence: live
          ? `${value} is live on ${up} member${up === 1 ? '' : 's'}`
          : `${value} is live on ${up} of ${members.length} members${seen.some((peer) => peer?.state === 'down') ? ', its health check fails' : ''}`,
      };
    },
  );

  const Member = z.object({ name: z.string(), member: z.string() });
  app.get(
    '/v1/lbs/:name/members/:member/metrics',
    { schema: { tags, summary: "A member's metrics, for Prometheus", params: Member } },
    async (request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return memberMetrics(deps.lb, request.params.name, request.params.member);
    },
  );

  const Lines = z.object({ lines: z.coerce.number().int().min(1).max(5000).default(100) });
  app.get(
    '/v1/lbs/:name/logs',
    { schema: { tags, summary: 'Latest log lines of the members', params: Name, querystring: Lines } },
    (request) => lbLogs(deps.lb, request.params.name, request.query.lines),
  );

  app.delete('/v1/lbs/:name', { schema: { tags, summary: 'Remove a load balancer', params: Name } }, async (request, reply) => {
    await destroyLb(deps.lb, request.params.name);
    reply.code(202);
    return { name: request.params.name, sentence: `${request.params.name} is being removed` };
  });
}
