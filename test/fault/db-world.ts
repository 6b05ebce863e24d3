import { AppError, messageOf } from '#core/errors.ts';
import { type MemberSql, parseBatch } from '#test/history/state.ts';
import type { PoolHost } from '#test/pool/host.ts';
import type { Pool } from '#test/xcaas.ts';
import type { Disks } from './disks.ts';
import { createGround, type Member, type ServiceWorld } from './world.ts';

/** What `db status --json` says of a database; see the contract. */
export interface DbJson {
  name: string;
  status: string;
  sentence: string;
  epoch: number;
  master: string | null;
  sync: string | null;
  endpoint: { host: string; port: number; published: { hostPort: number; port: number }[] };
  members: { id: string; role: string; state: string; node: string; gtid?: string; lagSeconds?: number | null; sentence?: string }[];
}

/** The database on its pool, as faults and checks see and touch it. */
export interface World extends ServiceWorld {
  readonly disks: Disks;
  /** Asked on a host whose agent answers. */
  status(on?: PoolHost): Promise<DbJson>;
  /** Runs a statement on the member's own engine, by the sidecar's account: not through the endpoint, not subject to read-only. */
  sql(member: Member, database?: string): MemberSql;
}

export function createWorld({ pool, db, disks }: { pool: Pool; db: string; disks: Disks }): World {
  const ground = createGround({ pool, kind: 'db', name: db, engine: 'mariadbd', beforeBoot: (host) => disks.mount(host) });
  const world: World = {
    ...ground,
    disks,
    async status(on) {
      const asked = on ?? pool.hosts.find(({ power }) => power === 'on') ?? pool.first;
      return pool.json<DbJson>(['db', 'status', db], { on: asked, timeoutMs: 30_000 });
    },
    async roles() {
      const { master, sync, members, sentence } = await world.status();
      const find = (id: string | null) => members.find((member) => member.id === id);
      const [leads, follows] = [find(master), find(sync)];
      if (leads === undefined || follows === undefined) throw new AppError('unavailable', `${db} has no master and slave now: ${sentence}`);
      const [on, beside] = [pool.host(leads.node), pool.host(follows.node)];
      const witness = pool.hosts.find((host) => host !== on && host !== beside);
      if (witness === undefined) throw new AppError('internal', 'the pool has no third host');
      return { master: { id: leads.id, host: on }, follower: { id: follows.id, host: beside }, witness };
    },
    sql(member, database = db) {
      const client = [
        'exec',
        '--user',
        '7481:7481',
        member.id,
        'mariadb',
        '--user=xcaas_agent',
        '--batch',
        '--skip-column-names',
        '--connect-timeout',
        '5',
      ];
      return async (text) => parseBatch(await ground.docker(member.host, ...client, database, '--execute', text));
    },
    switchover: () =>
      pool
        .json<{ blockedMs?: number }>(['db', 'switchover', db, '--timeout', '30'], { timeoutMs: 60_000 })
        .then((done) => `done, ${JSON.stringify(done)}`)
        .catch((error: unknown) => `refused: ${messageOf(error)}`),
  };
  return world;
}

/** A master, a slave that is in sync, both running. */
export function isWhole({ status, master, sync, members }: DbJson): boolean {
  if (status !== 'READY' || master === null || sync === null || master === sync) return false;
  const role = (id: string) => members.find((member) => member.id === id && member.state === 'running')?.role;
  return role(master) === 'master' && role(sync) === 'slave';
}
