import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { validate } from '#core/validate.ts';
import { type FetchImageAnswer, FetchImageRequest, type ImagesAnswer, imageId, type PromoteAnswer } from '#pool/agent-api.ts';
import type { HostFacts } from '#pool/host.ts';
import type { GroundDuties } from '../ground-duties.ts';
import type { Images } from '../images.ts';
import { type ProbeAnswer, ProbeQuery, probeTcp } from '../probe.ts';

const ImageParams = z.object({ id: imageId });

export interface HostRouteDeps {
  facts(): Promise<HostFacts>;
  images: Images;
  ground: Pick<GroundDuties, 'promote'>;
}

export async function hostRoutes(app: FastifyInstance, { facts, images, ground }: HostRouteDeps): Promise<void> {
  app.get('/v1/host', (): Promise<HostFacts> => facts());

  app.get('/v1/probe', (request): Promise<ProbeAnswer> => {
    // From here only: an agent that passed probes on could be sent in circles.
    const { address, timeoutMs } = validate(ProbeQuery.omit({ host: true }).strict(), request.query, 'the probe');
    return probeTcp(address, timeoutMs);
  });

  app.get('/v1/images', async (): Promise<ImagesAnswer> => ({ images: await images.list() }));

  app.get('/v1/images/:id/tar', async (request, reply) => {
    const { id } = validate(ImageParams, request.params, 'the image');
    const tar = await images.tar(id);
    reply.raw.once('close', () => tar.destroy());
    return reply.type('application/x-tar').send(tar);
  });

  app.post('/v1/images/fetch', (request): Promise<FetchImageAnswer> => {
    return images.fetch(validate(FetchImageRequest, request.body, 'the request'), request.proceed);
  });

  app.post('/v1/ground/promote', (request): Promise<PromoteAnswer> => ground.promote(request.proceed));
}
