import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { type Done, type NetworkAnswer, type SwarmAnswer, SwarmNodeRequest } from '#pool/agent-api.ts';
import { engineError } from '../engine-errors.ts';

const Params = z.object({ id: z.string().regex(/^[a-z0-9]{10,64}$/) });

const NetworkParams = z.object({ name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/) });
const Network = z.object({ Name: z.string(), Driver: z.string(), Attachable: z.boolean() });

/** Swarm's default, which `docker swarm init` listens on. */
const SWARM_PORT = 2377;

const Info = z.object({ Swarm: z.object({ ControlAvailable: z.boolean(), NodeAddr: z.string() }) });
const Swarm = z.object({ JoinTokens: z.object({ Worker: z.string() }) });
const Node = z.object({
  ID: z.string(),
  Version: z.object({ Index: z.number() }),
  Spec: z.looseObject({ Role: z.string() }),
  Status: z.object({ State: z.string(), Addr: z.string().default('') }),
});

/** The Swarm as a manager's engine knows it. Of nodes that the pool knows, roles are raised and dead ones removed; nothing else of a Swarm is changed. */
export async function swarmRoutes(app: FastifyInstance, { docker }: { docker: Docker }): Promise<void> {
  app.get('/v1/swarm', async (): Promise<SwarmAnswer> => {
    const address = await managerAddress(docker);
    try {
      const [swarm, nodes] = await Promise.all([docker.swarmInspect(), docker.listNodes()]);
      return {
        manager: `${address}:${SWARM_PORT}`,
        workerToken: Swarm.parse(swarm).JoinTokens.Worker,
        nodes: z
          .array(Node)
          .parse(nodes)
          .map(({ ID, Spec, Status }) => ({
            id: ID,
            manager: Spec.Role === 'manager',
            ready: Status.State === 'ready',
            address: Status.Addr,
          })),
      };
    } catch (error) {
      throw engineError(error, 'asking for the Swarm');
    }
  });

  app.delete('/v1/swarm/nodes/:id', async (request): Promise<Done> => {
    const { id } = validate(Params, request.params, 'the Swarm node');
    await managerAddress(docker);
    try {
      const node = Node.parse(await docker.getNode(id).inspect());
      if (node.Status.State === 'ready')
        throw new AppError('conflict', `the Swarm node ${id} is alive`, { hint: 'docker swarm leave on that host' });
      request.proceed();
      // A manager counts for the majority until it is none.
      if (node.Spec.Role === 'manager') await docker.getNode(id).update({ ...node.Spec, version: node.Version.Index, Role: 'worker' });
      await docker.getNode(id).remove({ force: true });
    } catch (error) {
      if (isNotFound(error)) return { ok: true };
      throw engineError(error, `taking the node ${id} out of the Swarm`);
    }
    return { ok: true };
  });

  app.get('/v1/networks/:name', async (request): Promise<NetworkAnswer> => {
    const { name } = validate(NetworkParams, request.params, 'the network');
    try {
      const { Name, Driver, Attachable } = Network.parse(await docker.getNetwork(name).inspect());
      return { name: Name, driver: Driver, attachable: Attachable };
    } catch (error) {
      if (isNotFound(error)) throw new AppError('not_found', `there is no network ${name}`);
      throw engineError(error, `looking for the network ${name}`);
    }
  });

  app.post('/v1/swarm/nodes/:id', async (request): Promise<Done> => {
    const { id } = validate(Params, request.params, 'the Swarm node');
    validate(SwarmNodeRequest, request.body, 'the request');
    await managerAddress(docker);
    try {
      const node = Node.parse(await docker.getNode(id).inspect());
      request.proceed();
      if (node.Spec.Role !== 'manager') await docker.getNode(id).update({ ...node.Spec, version: node.Version.Index, Role: 'manager' });
    } catch (error) {
      throw engineError(error, `making the Swarm node ${id} a manager`);
    }
    return { ok: true };
  });
}

async function managerAddress(docker: Docker): Promise<string> {
  const { Swarm: swarm } = Info.parse(await docker.info());
  if (swarm.ControlAvailable) return swarm.NodeAddr;
  throw new AppError('conflict', 'the engine of this host is no manager of the Swarm', { hint: 'ask a host that is one: xcaas nodes' });
}
