import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type Docker, isNotFound } from '#core/docker.ts';
import { validate } from '#core/validate.ts';
import { type AttachAnswer, AttachRequest, type ContainersAnswer, type Done, type DrainAnswer, StopRequest } from '#pool/agent-api.ts';
import { MEMBER_LABELS } from '#pool/member.ts';
import { attach, findContainers, inspectContainer } from '../containers.ts';
import { engineError } from '../engine-errors.ts';
import type { Members } from '../members/members.ts';
import { isMember } from '../members/report.ts';
import type { Registrar } from '../registrar/registrar.ts';

const Params = z.object({ id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/, 'use a container id or name') });
const FindQuery = z.object({ find: z.string().min(1).max(255) });

export interface ContainerRouteDeps {
  docker: Docker;
  hostId: string;
  registrar: Pick<Registrar, 'drain' | 'undrain'>;
  members: Pick<Members, 'markStopped'>;
}

export async function containerRoutes(app: FastifyInstance, { docker, hostId, registrar, members }: ContainerRouteDeps): Promise<void> {
  app.get('/v1/containers', async (request): Promise<ContainersAnswer> => {
    const { find } = validate(FindQuery, request.query, 'the query');
    return { containers: await findContainers(docker, find, hostId) };
  });

  app.post('/v1/containers/:id/attach', async (request): Promise<AttachAnswer> => {
    const { id } = validate(Params, request.params, 'the container');
    return attach(docker, id, validate(AttachRequest, request.body, 'the request'));
  });

  app.post('/v1/containers/:id/drain', async (request): Promise<DrainAnswer> => {
    const { id } = validate(Params, request.params, 'the container');
    const container = await inspectContainer(docker, id);
    return { registrations: await registrar.drain(container.Id) };
  });

  app.post('/v1/containers/:id/undrain', async (request): Promise<DrainAnswer> => {
    const { id } = validate(Params, request.params, 'the container');
    const container = await inspectContainer(docker, id);
    return { registrations: await registrar.undrain(container.Id) };
  });

  app.post('/v1/containers/:id/stop', async (request): Promise<Done> => {
    const { id } = validate(Params, request.params, 'the container');
    const { timeoutSeconds } = validate(StopRequest, request.body, 'the request');
    const container = await inspectContainer(docker, id);
    const member = container.Config.Labels?.[MEMBER_LABELS.member];
    if (member !== undefined && isMember(container.Config.Labels, member, hostId)) await members.markStopped(member);
    // Marked before the signal; that Consul cannot be told is no reason not to stop.
    await registrar.drain(container.Id).catch(() => undefined);
    try {
      await docker.getContainer(container.Id).stop({ t: timeoutSeconds });
    } catch (error) {
      const stopped = (error as { statusCode?: number }).statusCode === 304;
      if (!stopped && !isNotFound(error)) throw engineError(error, `stopping ${id}`);
    } finally {
      await registrar.undrain(container.Id).catch(() => undefined);
    }
    return { ok: true };
  });
}
