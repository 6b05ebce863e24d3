import http from 'node:http';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Docker } from '#core/docker.ts';
import { AppError, messageOf, systemCode } from '#core/errors.ts';
import { name } from '#core/names.ts';
import type { HostPaths } from '#core/paths.ts';
import { validate } from '#core/validate.ts';
import type { DeleteMemberAnswer, LogsAnswer, MembersAnswer, PutMemberAnswer, VolumeReport, VolumesAnswer } from '#pool/agent-api.ts';
import { MemberRequest } from '#pool/member.ts';
import { memberLogs } from '../members/logs.ts';
import type { Members } from '../members/members.ts';

const Params = z.object({ id: name });
const DeleteQuery = z.object({ purge: z.enum(['0', '1']).default('0') });

const LogsQuery = z.object({ lines: z.coerce.number().int().min(1).max(5000).default(100) });

export interface MemberRouteDeps {
  docker: Docker;
  members: Members;
  volumes(): Promise<VolumeReport[]>;
  paths: HostPaths;
}

export async function memberRoutes(app: FastifyInstance, { docker, members, volumes, paths }: MemberRouteDeps): Promise<void> {
  app.get('/v1/members', async (): Promise<MembersAnswer> => ({ members: await members.list() }));

  app.get('/v1/volumes', async (): Promise<VolumesAnswer> => ({ volumes: await volumes() }));

  app.put('/v1/members/:id', async (request): Promise<PutMemberAnswer> => {
    const { id } = validate(Params, request.params, 'the member');
    const { spec, secrets } = validate(MemberRequest, request.body, `the specification of ${id}`);
    if (spec.id !== id) throw new AppError('invalid', `the specification is of ${spec.id}, the path names ${id}`);
    return members.ensure(spec, secrets, request.proceed);
  });

  app.delete('/v1/members/:id', async (request): Promise<DeleteMemberAnswer> => {
    const { id } = validate(Params, request.params, 'the member');
    const { purge } = validate(DeleteQuery, request.query, 'the query');
    return members.remove(id, { purge: purge === '1', proceed: request.proceed });
  });

  app.get('/v1/members/:id/logs', async (request): Promise<LogsAnswer> => {
    const { id } = validate(Params, request.params, 'the member');
    const { lines } = validate(LogsQuery, request.query, 'the query');
    return { lines: await memberLogs(docker, id, lines) };
  });

  await app.register(async (admin) => {
    // Bodies go through as they come, whatever they are.
    admin.removeAllContentTypeParsers();
    admin.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    admin.all('/v1/members/:id/admin/*', async (request, reply) => {
      const { id } = validate(Params, request.params, 'the member');
      const prefix = `/v1/members/${id}/admin`;
      return forwardToSidecar(request, reply, id, join(paths.membersRun, id, 'admin.sock'), request.url.slice(prefix.length));
    });
  });
}

/** Milliseconds without a byte from the sidecar after which it is given up. */
const SIDECAR_SILENCE_MS = 60_000;

function forwardToSidecar(
  request: FastifyRequest,
  reply: FastifyReply,
  id: string,
  socketPath: string,
  path: string,
): Promise<FastifyReply> {
  return new Promise((resolve, reject) => {
    const headers = Object.fromEntries(
      ['content-type', 'content-length', 'accept'].flatMap((header) => {
        const value = request.headers[header];
        return value === undefined ? [] : [[header, value]];
      }),
    );
    const outgoing = http.request({ socketPath, method: request.method, path, headers });
    outgoing.setTimeout(SIDECAR_SILENCE_MS, () => outgoing.destroy(new Error(`silent for ${SIDECAR_SILENCE_MS / 1000} s`)));
    outgoing.once('error', (cause) => {
      const code = systemCode(cause);
      const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? 'it does not listen (does the member run?)' : messageOf(cause);
      reject(new AppError('unavailable', `the sidecar of ${id} cannot be asked: ${why}`, { hint: `docker logs ${id} on its host`, cause }));
    });
    outgoing.once('response', (answer) => {
      reply.code(answer.statusCode ?? 502);
      if (answer.headers['content-type'] !== undefined) reply.header('content-type', answer.headers['content-type']);
      resolve(reply.send(answer));
    });
    reply.raw.once('close', () => outgoing.destroy());
    const body = request.body as NodeJS.ReadableStream | undefined;
    if (body === undefined || body === null) outgoing.end();
    else body.pipe(outgoing);
  });
}
