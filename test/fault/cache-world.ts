import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, messageOf } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import type { MemberCommand } from '#test/cache-history/state.ts';
import type { PoolHost } from '#test/pool/host.ts';
import type { Pool } from '#test/xcaas.ts';
import { AGENT_USER } from '#xcache/engine/session.ts';
import { createGround, type Member, type ServiceWorld } from './world.ts';

/** What `cache status --json` says of a cache; see the contract. */
export interface CacheJson {
  name: string;
  status: string;
  sentence: string;
  mode: string;
  epoch: number;
  master: string | null;
  endpoint: { host: string; port: number };
  members: { id: string; role: string; state: string; node: string; insync: boolean; sentence?: string }[];
}

/** The cache on its pool, as faults and checks see and touch it. */
export interface CacheWorld extends ServiceWorld {
  /** Asked on a host whose agent answers. */
  status(on?: PoolHost): Promise<CacheJson>;
  /** Members as they are placed. */
  members(): Promise<Member[]>;
  /** Asks the member's own engine, by the sidecar's account: not through the endpoint. */
  command(member: Member): MemberCommand;
}

export function createCacheWorld({ pool, cache }: { pool: Pool; cache: string }): CacheWorld {
  const ground = createGround({ pool, kind: 'cache', name: cache, engine: 'valkey-server' });
  const world: CacheWorld = {
    ...ground,
    async status(on) {
      const asked = on ?? pool.hosts.find(({ power }) => power === 'on') ?? pool.first;
      return pool.json<CacheJson>(['cache', 'status', cache], { on: asked, timeoutMs: 30_000 });
    },
    async members() {
      const { members } = await world.status();
      return members.map(({ id, node }) => ({ id, host: pool.host(node) }));
    },
    async roles() {
      const { master, members, sentence } = await world.status();
      const leads = members.find(({ id }) => id === master);
      const follows = members.find(({ id, insync }) => id !== master && insync);
      if (leads === undefined || follows === undefined)
        throw new AppError('unavailable', `${cache} has no master and replica now: ${sentence}`);
      const [on, beside] = [pool.host(leads.node), pool.host(follows.node)];
      const witness = pool.hosts.find((host) => host !== on && host !== beside);
      if (witness === undefined) throw new AppError('internal', 'the pool has no third host');
      return { master: { id: leads.id, host: on }, follower: { id: follows.id, host: beside }, witness };
    },
    command(member) {
      return async (...words) => {
        const file = join(hostPaths(member.host.root).secretsRun, member.id, 'credentials.json');
        const { agent } = JSON.parse(readFileSync(file, 'utf8')) as { agent: string };
        const client = ['valkey-cli', '-s', '/run/xcache/engine.sock', '--user', AGENT_USER, '--no-auth-warning', '--raw'];
        return member.host.run('docker', ['exec', '--user', '7481:7481', '--env', 'REDISCLI_AUTH', member.id, ...client, ...words], {
          env: { REDISCLI_AUTH: agent },
          timeoutMs: 60_000,
        });
      };
    },
    switchover: () =>
      pool
        .json<unknown>(['cache', 'switchover', cache, '--timeout', '30'], { timeoutMs: 60_000 })
        .then((done) => `done, ${JSON.stringify(done)}`)
        .catch((error: unknown) => `refused: ${messageOf(error)}`),
  };
  return world;
}

/** A master, and every other member in sync with it. */
export function isWhole({ status, master, members }: CacheJson): boolean {
  if (status !== 'READY' || master === null) return false;
  return members.every(({ id, role, state, insync }) => state === 'running' && (id === master ? role === 'master' : insync));
}
