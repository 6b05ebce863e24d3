import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDeps } from '#api/deps.ts';
import { createToken, listTokens, revokeToken, TOKEN_ROLES } from '#ground/tokens.ts';

/** Ten years: longer is for ever, which is said by leaving it away. */
const MAX_TTL_HOURS = 10 * 366 * 24;

const admin = { role: 'admin' as const };

/** API tokens, and the tokens by which hosts join. */
export async function tokenRoutes(root: FastifyInstance, deps: ApiDeps): Promise<void> {
  const app = root.withTypeProvider<ZodTypeProvider>();
  const tags = ['tokens'];

  const NewToken = z.object({
    name: z.string().min(1).max(64),
    role: z.enum(TOKEN_ROLES),
    ttlHours: z.number().int().min(1).max(MAX_TTL_HOURS).optional(),
  });
  app.post(
    '/v1/tokens',
    { config: admin, schema: { tags, summary: 'Make an API token; it is shown once', body: NewToken } },
    async (request) => {
      const { name, role, ttlHours } = request.body;
      const { token, info } = await createToken(
        deps.consul,
        { name, role, ...(ttlHours === undefined ? {} : { ttl: ttlHours * 3600 }) },
        deps.now(),
      );
      return { ...info, token };
    },
  );
  app.get('/v1/tokens', { config: admin, schema: { tags, summary: 'API tokens without their secrets' } }, async () =>
    (await listTokens(deps.consul)).map(({ expires, ...token }) => ({ ...token, ...(expires === null ? {} : { expires }) })),
  );
  app.delete(
    '/v1/tokens/:id',
    { config: admin, schema: { tags, summary: 'Revoke an API token', params: z.object({ id: z.string() }) } },
    (request) => revokeToken(deps.consul, request.params.id),
  );

  app.post('/v1/join-tokens', { config: admin, schema: { tags, summary: 'A token for one further host, good for an hour' } }, async () => {
    const made = await deps.joinToken();
    return { ...made, command: `./xcaas join ${made.token}` };
  });
}
