import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import { within } from '#member/within.ts';
import type { Engine, UpstreamMaster } from '#xdb/engine/engine.ts';
import type { Credentials } from '#xdb/schema.ts';
import { UpstreamAsked, type UpstreamStanding } from '#xdb/upstream/standing.ts';
import type { SidecarConfig } from './config.ts';
import type { Turn } from './turn.ts';
import { upstreamMaster } from './upstream.ts';

export interface UpstreamRoutesOptions {
  config: SidecarConfig;
  engine: Pick<Engine, 'connect' | 'inspectUpstream'>;
  credentials: CredentialsSource<Credentials>;
  last(): Turn | undefined;
}

const CONNECT_MS = 1000;
const LIMIT_MS = 10_000;
const INSPECT_MS = 30_000;

/** What a member tells of a master that is no member: how far behind it is, and whether a server that others cannot reach from where they are could be one. */
export function upstreamRoutes({ config, engine, credentials, last }: UpstreamRoutesOptions): AdminRoute[] {
  return [
    {
      method: 'GET',
      path: '/upstream',
      async handle() {
        const turn = last();
        const spec = turn?.view?.spec.value;
        const slave = turn?.local.engine.state === 'running' ? turn.local.engine.slave : undefined;
        if (spec === undefined || turn === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
        if (slave === undefined) throw new AppError('unavailable', 'the engine does not run');
        const master = upstreamMaster(spec, credentials.current(), config, 'ask');
        const standing: UpstreamStanding = {
          following: slave.outside && slave.io === 'running' && slave.sql === 'running',
          lagSeconds: slave.lagSeconds,
          broken: slave.broken ?? slave.trouble ?? null,
          ...(await distance(master)),
        };
        return { body: standing };
      },
    },
    {
      method: 'POST',
      path: '/inspect-upstream',
      async handle({ body }) {
        const { host, port, user, password, tls } = validate(UpstreamAsked, body, 'the master');
        const asked = engine.inspectUpstream({ host, port, user, password, tls, caFile: undefined });
        return { body: await within(asked, INSPECT_MS, `asking ${host}:${port}`) };
      },
    },
  ];

  async function distance(
    master: UpstreamMaster,
  ): Promise<Pick<UpstreamStanding, 'answers' | 'reached' | 'missing' | 'readOnly' | 'error'>> {
    try {
      const session = await within(engine.connect({ timeoutMs: CONNECT_MS }), CONNECT_MS + 500, 'a connection to the engine', (late) =>
        late.close(),
      );
      try {
        const { reached, missing, readOnly } = await within(session.behindUpstream(master), LIMIT_MS, 'asking the master');
        return { answers: true, reached, missing: missing ?? null, readOnly, error: null };
      } finally {
        session.close();
      }
    } catch (error) {
      return {
        answers: false,
        reached: false,
        missing: null,
        readOnly: false,
        error: error instanceof Error ? error.message : String(error),
      };
    }
  }
}
