import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import { type MemberSql, parseBatch } from '#test/history/state.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { signal, withDescendants } from '#test/pool/processes.ts';
import type { Pool } from '#test/xcaas.ts';
import type { Disks } from './disks.ts';

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

export type ProcessKind = 'engine' | 'sidecar' | 'supervisor' | 'endpoint';

/** How each is called in /proc. The sidecar is the one of Node. */
const PROGRAMS: Record<ProcessKind, string> = { engine: 'mariadbd', sidecar: 'node', supervisor: 'supervisor', endpoint: 'haproxy' };

/** A member and where it lives. */
export interface Member {
  id: string;
  host: PoolHost;
}

/** The database on its pool, as faults and checks see and touch it. */
export interface World {
  readonly pool: Pool;
  readonly db: string;
  readonly disks: Disks;
  /** Asked on a host whose agent answers. */
  status(on?: PoolHost): Promise<DbJson>;
  /** Of the record, which must name both. @throws AppError `unavailable` */
  roles(): Promise<{ master: Member; slave: Member; witness: PoolHost }>;
  /** Members as they are placed. */
  members(): Promise<Member[]>;
  /** Runs a statement on the member's own engine, by the sidecar's account: not through the endpoint, not subject to read-only. */
  sql(member: Member, database?: string): MemberSql;
  /** @throws AppError `unavailable` when its container does not run */
  pids(member: Member, kind: ProcessKind): Promise<number[]>;
  signal(member: Member, kind: ProcessKind, name: NodeJS.Signals): Promise<number>;
  /** Process id of the container's first process, whose network is the member's. */
  root(member: Member): Promise<number>;
  /** Runs the docker client on a host. @throws AppError */
  docker(host: PoolHost, ...args: string[]): Promise<string>;
  /** Folder that the member sees as `/run/member`. */
  runFolder(member: Member): string;
  dataFolder(member: Member): string;
  /** Switches a host on as its disks were. */
  boot(...hosts: PoolHost[]): Promise<void>;
  /** Asks Consul on a host with the pool's management token. @returns the answer's body */
  consul(on: PoolHost, method: string, path: string, options?: { input?: string; output?: string }): Promise<string>;
  /** Leader of Consul as the host's own agent says. */
  consulLeader(on: PoolHost): Promise<PoolHost | undefined>;
}

export function createWorld({ pool, db, disks }: { pool: Pool; db: string; disks: Disks }): World {
  const docker = (host: PoolHost, ...args: string[]) => host.run('docker', args, { timeoutMs: 120_000 });
  const token = readFileSync(join(hostPaths(pool.first.root).tokens, 'bootstrap'), 'utf8').trim();

  const world: World = {
    pool,
    db,
    disks,
    async status(on) {
      const asked = on ?? pool.hosts.find(({ power }) => power === 'on') ?? pool.first;
      return pool.json<DbJson>(['db', 'status', db], { on: asked, timeoutMs: 30_000 });
    },
    async members() {
      const { members } = await world.status();
      return members.map(({ id, node }) => ({ id, host: pool.host(node) }));
    },
    async roles() {
      const { master, sync, members, sentence } = await world.status();
      const find = (id: string | null) => members.find((member) => member.id === id);
      const [leads, follows] = [find(master), find(sync)];
      if (leads === undefined || follows === undefined) throw new AppError('unavailable', `${db} has no master and slave now: ${sentence}`);
      const [on, beside] = [pool.host(leads.node), pool.host(follows.node)];
      const witness = pool.hosts.find((host) => host !== on && host !== beside);
      if (witness === undefined) throw new AppError('internal', 'the pool has no third host');
      return { master: { id: leads.id, host: on }, slave: { id: follows.id, host: beside }, witness };
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
      return async (text) => parseBatch(await docker(member.host, ...client, database, '--execute', text));
    },
    async root(member) {
      const { State } = await member.host.docker.getContainer(member.id).inspect();
      if (!State.Running || State.Pid === 0) throw new AppError('unavailable', `${member.id} does not run: ${State.Status}`);
      return State.Pid;
    },
    async pids(member, kind) {
      const all = withDescendants([await world.root(member)]);
      return all.filter((pid) => programOf(pid) === PROGRAMS[kind]);
    },
    async signal(member, kind, name) {
      const pids = await world.pids(member, kind);
      for (const pid of pids) signal(pid, name);
      return pids.length;
    },
    docker,
    runFolder: (member) => join(hostPaths(member.host.root).membersRun, member.id),
    dataFolder: (member) => join(hostPaths(member.host.root).volumes, member.id, 'data'),
    async boot(...hosts) {
      for (const host of hosts) disks.mount(host);
      await Promise.all(hosts.map((host) => host.boot({ wait: false })));
      await Promise.all(hosts.map((host) => host.ready(180_000)));
    },
    consul(on, method, path, { input, output } = {}) {
      const args = [
        '-sS',
        '-f',
        '-m',
        '30',
        '-X',
        method,
        '--unix-socket',
        hostPaths(on.root).consulSocket,
        '-H',
        `X-Consul-Token: ${token}`,
      ];
      const data = input === undefined ? [] : ['--data-binary', `@${input}`];
      return on.run('curl', [...args, ...data, ...(output === undefined ? [] : ['-o', output]), `http://consul/v1${path}`]);
    },
    async consulLeader(on) {
      const leader = JSON.parse(await world.consul(on, 'GET', '/status/leader')) as string;
      return pool.hosts.find(({ address }) => leader.startsWith(`${address}:`));
    },
  };
  return world;
}

function programOf(pid: number): string | undefined {
  try {
    const program = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    // Node names its main thread for what it does.
    return program === 'MainThread' || program.startsWith('node') ? 'node' : program;
  } catch {
    return undefined;
  }
}
