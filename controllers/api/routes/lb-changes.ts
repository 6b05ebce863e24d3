import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { streamLines } from '#api/stream.ts';
import { addCert, removeCert } from '#xlb/operations/certs.ts';
import { addListeners, addRule, dropRule, linkService, removeListeners, setOptions, unlinkService } from '#xlb/operations/change.ts';
import { removeContainer } from '#xlb/operations/drain.ts';
import { addContainer } from '#xlb/operations/targets.ts';
import { hostPattern, pathPrefix } from '#xlb/schema.ts';

const Name = z.object({ name: z.string() });
const RouteFields = {
  host: z.string().toLowerCase().pipe(hostPattern).optional(),
  path: pathPrefix.optional(),
  listen: z.string().max(64).optional(),
};
/** Names of target groups, each perhaps with a weight. */
const TARGETS = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(:\d{1,5})?(,[a-z0-9]([a-z0-9-]*[a-z0-9])?(:\d{1,5})?)*$/;
const drainSeconds = z.number().int().min(0).max(86_400).default(30);

/** Load balancers: targets, listeners, rules, certificates and settings changed. */
export async function lbChangeRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['lb'];

  const AddBody = z.object({
    container: z.string().min(1),
    port: z.number().int().optional(),
    weight: z.number().int().optional(),
    ...RouteFields,
  });
  app.post('/v1/lbs/:name/containers', { schema: { tags, summary: 'Add a container', params: Name, body: AddBody } }, (request) =>
    addContainer(deps.lb, request.params.name, request.body),
  );

  const RemoveBody = z.object({ container: z.string().min(1), port: z.number().int().optional(), drainSeconds, ...RouteFields });
  app.post(
    '/v1/lbs/:name/containers/remove',
    { schema: { tags, summary: 'Drain and remove a container; answers in JSON lines', params: Name, body: RemoveBody } },
    (request, reply) => streamLines(reply, (send) => removeContainer(deps.lb, request.params.name, request.body, send)),
  );

  const ServiceBody = z.object({ service: z.string().min(1).max(128), ...RouteFields });
  app.post(
    '/v1/lbs/:name/services',
    { schema: { tags, summary: 'Add a Consul service', params: Name, body: ServiceBody } },
    async (request) => {
      const { group } = await linkService(deps.lb, request.params.name, request.body);
      return { group, sentence: `the instances of ${request.body.service} serve ${group} of ${request.params.name}` };
    },
  );
  const ServiceParams = z.object({ name: z.string(), service: z.string() });
  app.delete(
    '/v1/lbs/:name/services/:service',
    { schema: { tags, summary: 'Remove a Consul service', params: ServiceParams } },
    async (request) => {
      await unlinkService(deps.lb, request.params.name, request.params.service);
      return { sentence: `${request.params.service} is out of ${request.params.name}` };
    },
  );

  const ListenBody = z.object({ listen: z.array(z.string()).min(1) });
  app.post(
    '/v1/lbs/:name/listeners/add',
    { schema: { tags, summary: 'Add listeners', params: Name, body: ListenBody } },
    async (request) => {
      const { listeners } = await addListeners(deps.lb, request.params.name, request.body.listen);
      return { listeners };
    },
  );
  app.post(
    '/v1/lbs/:name/listeners/remove',
    { schema: { tags, summary: 'Remove listeners', params: Name, body: ListenBody } },
    async (request) => {
      const { listeners } = await removeListeners(deps.lb, request.params.name, request.body.listen);
      return { listeners };
    },
  );

  const RuleBody = z.object({ to: z.string().max(1024).regex(TARGETS, 'write GROUP, or GROUP:WEIGHT,GROUP:WEIGHT'), ...RouteFields });
  app.post('/v1/lbs/:name/rules', { schema: { tags, summary: 'Add a rule', params: Name, body: RuleBody } }, async (request) => {
    const { rules } = await addRule(deps.lb, request.params.name, request.body);
    return { rules };
  });
  app.post(
    '/v1/lbs/:name/rules/remove',
    { schema: { tags, summary: 'Remove a rule', params: Name, body: z.object(RouteFields) } },
    async (request) => {
      const { rules } = await dropRule(deps.lb, request.params.name, request.body);
      return { rules };
    },
  );

  const CertBody = z.object({ host: z.string(), cert: z.string(), key: z.string() });
  app.post(
    '/v1/lbs/:name/certs',
    { schema: { tags, summary: 'Add or replace a certificate', params: Name, body: CertBody } },
    async (request) => {
      const { notAfter } = await addCert(deps.lb, request.params.name, request.body);
      return { host: request.body.host, notAfter, sentence: `${request.body.host} has a certificate until ${notAfter}` };
    },
  );
  const CertParams = z.object({ name: z.string(), host: z.string() });
  app.delete('/v1/lbs/:name/certs/:host', { schema: { tags, summary: 'Remove a certificate', params: CertParams } }, async (request) => {
    await removeCert(deps.lb, request.params.name, request.params.host);
    return { sentence: `the certificate of ${request.params.host} is removed` };
  });

  const SetBody = z.object({ set: z.record(z.string(), z.string()) });
  app.patch('/v1/lbs/:name', { schema: { tags, summary: 'Change settings', params: Name, body: SetBody } }, async (request) => {
    const { options, groups } = await setOptions(deps.lb, request.params.name, request.body.set);
    return { options, groups };
  });
}
