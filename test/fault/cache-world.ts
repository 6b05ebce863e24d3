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
  members: { id: string; role: string; state: string; node: string; insync: boolean; shard: number; sentence?: string }[];
  cluster?: { state: string };
}

/** The cache on its pool, as faults and checks see and touch it. */
export interface CacheWorld extends ServiceWorld {
  /** Asked on a host whose agent answers. */
  status(on?: PoolHost): Promise<CacheJson>;
  /** Members as they are placed. */
  members(): Promise<Member[]>;
  /** Masters, and those that follow them: what each list's members have together is everything. */
  copies(): Promise<Member[][]>;
  /** Asks the member's own engine, by the sidecar's account: not through the endpoint. */
  command(member: Member): MemberCommand;
}

export function createCacheWorld({ pool, cache, mode }: { pool: Pool; cache: string; mode: 'replicated' | 'cluster' }): CacheWorld {
  const ground = createGround({ pool, kind: 'cache', name: cache, engine: 'valkey-server' });
  /** Of a cluster, another shard is meant each time. */
  let turn = 0;
  const sides = async () => {
    const { master, members, sentence } = await world.status();
    const placed = members.map((member) => ({ ...member, host: pool.host(member.node) }));
    const leads = ({ id, role }: CacheJson['members'][number]) => (mode === 'cluster' ? role === 'master' : id === master);
    return { masters: placed.filter(leads), followers: placed.filter((member) => !leads(member) && member.insync), sentence };
  };
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
      const { masters, followers, sentence } = await sides();
      const leads = masters[turn++ % Math.max(1, masters.length)];
      const follows = followers.find(({ shard }) => shard === leads?.shard);
      if (leads === undefined || follows === undefined)
        throw new AppError('unavailable', `${cache} has no master and replica now: ${sentence}`);
      const witness = pool.hosts.find((host) => host !== leads.host && host !== follows.host);
      if (witness === undefined) throw new AppError('internal', 'the pool has no third host');
      return { master: leads, follower: follows, witness };
    },
    async copies() {
      const { masters, followers } = await sides();
      return [masters, followers];
    },
    command(member) {
      return async (...words) => {
        const file = join(hostPaths(member.host.root).secretsRun, member.id, 'credentials.json');
        const { agent } = JSON.parse(readFileSync(file, 'utf8')) as { agent: string };
        const client = ['valkey-cli', '-s', '/run/xcache/engine.sock', '--user', AGENT_USER, '--no-auth-warning', '--raw'];
        // A cluster's replica sends those who did not say so first to its master.
        const first = mode === 'cluster' ? ['READONLY'] : [];
        const lines = [...first, words.map((word) => JSON.stringify(word)).join(' '), ''];
        const said = await member.host.run(
          'docker',
          ['exec', '--interactive', '--user', '7481:7481', '--env', 'REDISCLI_AUTH', member.id, ...client],
          { env: { REDISCLI_AUTH: agent }, input: lines.join('\n'), timeoutMs: 60_000 },
        );
        return said.split('\n').slice(first.length).join('\n');
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

/** A master, in each shard, and every other member in sync with it. */
export function isWhole({ status, mode, master, members, cluster }: CacheJson): boolean {
  if (status !== 'READY') return false;
  if (mode === 'cluster')
    return cluster?.state === 'whole' && members.every(({ role, state, insync }) => state === 'running' && (role === 'master' || insync));
  return members.every(({ id, role, state, insync }) => state === 'running' && (id === master ? role === 'master' : insync));
}
