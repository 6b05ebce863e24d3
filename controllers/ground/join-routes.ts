import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { validate } from '#core/validate.ts';
import { checkJoin, decodeJoinToken, type JoinAnswer, type JoinDeps, JoinRequest, redeemJoin } from '#ground/join.ts';
import { answerErrors } from '#ground/plugin.ts';

export interface JoinImage {
  /** `sha256:…` */
  id: string;
  tags: string[];
  sizeBytes: number;
}

/** Images that a further host needs, as the engine of this host has them. */
export interface JoinImages {
  list(): Promise<JoinImage[]>;
  /** The image as `docker save` writes it, its tags included. */
  save(id: string): Readable | Promise<Readable>;
}

export interface JoinRouteDeps extends JoinDeps {
  images: JoinImages;
  log: Logger;
}

/**
 * What a host that is not yet of the pool may ask, without a certificate, on control's port. All but the CA needs
 * `authorization: Bearer <join token>` (its secret alone will do).
 */
export async function joinRoutes(app: FastifyInstance, deps: JoinRouteDeps): Promise<void> {
  const { consul, images, now = () => new Date() } = deps;
  answerErrors(app, deps.log);

  app.get('/join/ca', async (_request, reply) => reply.type('application/x-pem-file').send(deps.ca.cert));

  app.get('/join/images', async (request): Promise<JoinImage[]> => {
    await checkJoin(consul, bearerSecret(request), now());
    return images.list();
  });

  app.get<{ Params: { id: string } }>('/join/images/:id', async (request, reply) => {
    await checkJoin(consul, bearerSecret(request), now());
    const image = (await images.list()).find(({ id }) => id === request.params.id);
    if (image === undefined) throw new AppError('not_found', `this host has no image ${request.params.id} to give`);
    return reply.type('application/x-tar').send(await images.save(image.id));
  });

  app.post('/join', async (request): Promise<JoinAnswer> => redeemJoin(deps, validate(JoinRequest, request.body, 'the join request')));
}

function bearerSecret(request: FastifyRequest): string {
  const [, text] = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (text === undefined) throw new AppError('unauthenticated', 'this call needs a join token', { hint: 'authorization: Bearer TOKEN' });
  return /^[A-Za-z0-9_-]{43}$/.test(text) ? text : decodeJoinToken(text).secret;
}
