import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { messageOf } from '#core/errors.ts';
import { removeConsulNode, revokeHostTokens } from '#ground/acl.ts';
import type { Host } from '#pool/host.ts';
import { drainHost, findHost, removeHost, setLabels, undrainHost } from '#pool/hosts.ts';

const Ref = z.object({ ref: z.string() });

/** Hosts of the pool. */
export async function nodeRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['nodes'];
  const show = async (ref: string) => nodeView(findHost(await deps.hosts(), ref));

  app.get('/v1/nodes', { schema: { tags, summary: 'The hosts of the pool' } }, async () => (await deps.hosts()).map(nodeView));
  app.get('/v1/nodes/:ref', { schema: { tags, summary: 'A host by name or id', params: Ref } }, (request) => show(request.params.ref));

  const Labels = z.object({ labels: z.record(z.string(), z.string()) });
  app.patch(
    '/v1/nodes/:ref',
    { schema: { tags, summary: 'Set labels; an empty value removes one', params: Ref, body: Labels } },
    async (request) => {
      const changes = Object.fromEntries(
        Object.entries(request.body.labels).map(([key, value]) => [key, value === '' ? undefined : value]),
      );
      await setLabels(deps.consul, request.params.ref, changes);
      return show(request.params.ref);
    },
  );
  app.post('/v1/nodes/:ref/drain', { schema: { tags, summary: 'Place no new member there', params: Ref } }, async (request) => {
    await drainHost(deps.consul, request.params.ref);
    return show(request.params.ref);
  });
  app.post('/v1/nodes/:ref/undrain', { schema: { tags, summary: 'Place members there again', params: Ref } }, async (request) => {
    await undrainHost(deps.consul, request.params.ref);
    return show(request.params.ref);
  });
  app.delete(
    '/v1/nodes/:ref',
    { config: { role: 'admin' }, schema: { tags, summary: 'Take a host out of the pool', params: Ref } },
    async (request) => {
      const before = findHost(await deps.hosts(), request.params.ref);
      const removed = await removeHost(deps.consul, request.params.ref);
      await revokeHostTokens(deps.consul, removed.id);
      // The host is out of the pool by now: what the others cannot be told yet is said, not undone.
      const troubles = [
        await troubleOf(() => removeConsulNode(deps.consul, removed.name)),
        await troubleOf(() => leaveSwarm(deps, before)),
      ];
      return { id: removed.id, name: removed.name, removed: true, troubles: troubles.filter((trouble) => trouble !== undefined) };
    },
  );
}

/** A dead manager counts for the Swarm's majority until it is taken out. */
async function leaveSwarm(deps: ApiDeps, host: Host): Promise<void> {
  const nodeId = host.facts?.swarmNodeId;
  const teller = (await deps.hosts()).find((candidate) => candidate.alive && candidate.facts?.swarmManager);
  if (nodeId === undefined || teller === undefined) return;
  await deps.agent(teller).removeSwarmNode(nodeId);
}

async function troubleOf(action: () => Promise<void>): Promise<string | undefined> {
  try {
    await action();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The JSON of `xcaas nodes`. */
export function nodeView(host: Host) {
  const { spec, facts, alive, reserved } = host;
  return {
    id: spec.id,
    name: spec.name,
    address: spec.address,
    state: !alive ? 'down' : spec.drained ? 'drained' : 'ready',
    group: spec.group,
    rack: spec.rack,
    labels: { ...facts?.engineLabels, ...spec.labels },
    manager: spec.manager,
    cpus: facts?.cpus ?? 0,
    memoryBytes: facts?.memoryBytes ?? 0,
    diskBytes: facts?.diskBytes ?? 0,
    reserved,
    engine: facts?.engineVersion ?? '',
    version: facts?.version ?? '',
  };
}
