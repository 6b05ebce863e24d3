import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { signal, withDescendants } from '#test/pool/processes.ts';
import type { Pool } from '#test/xcaas.ts';

export type ProcessKind = 'engine' | 'sidecar' | 'supervisor' | 'endpoint';

/** A member and where it lives. */
export interface Member {
  id: string;
  host: PoolHost;
}

/** Who may be hurt, as the service calls them. */
export type Role = 'master' | 'slave' | 'replica';

export interface Roles {
  master: Member;
  /** A database's slave, a cache's replica: who may take over. */
  follower: Member;
  /** A host of the pool with neither. */
  witness: PoolHost;
}

export function roleOf({ master, follower }: Roles, role: Role): Member {
  return role === 'master' ? master : follower;
}

/** A service on its pool, as faults see and touch it. */
export interface ServiceWorld {
  readonly pool: Pool;
  readonly kind: 'db' | 'cache';
  /** Of the service. */
  readonly name: string;
  /** Of the record, which must name both. @throws AppError `unavailable` */
  roles(): Promise<Roles>;
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
  /** Orders another master. @returns what came of it, in words; `refused: …` when nothing did */
  switchover(): Promise<string>;
}

/** Everything of a {@link ServiceWorld} that is the same for all services. */
export type Ground = Omit<ServiceWorld, 'roles' | 'switchover'>;

export interface GroundOptions extends Pick<ServiceWorld, 'pool' | 'kind' | 'name'> {
  /** How the engine's process is called in /proc. */
  engine: string;
  /** Done to a host's disks before it boots. */
  beforeBoot?: (host: PoolHost) => void;
}

export function createGround({ pool, kind, name, engine, beforeBoot = () => undefined }: GroundOptions): Ground {
  /** How each is called in /proc. The sidecar is the one of Node. */
  const programs: Record<ProcessKind, string> = { engine, sidecar: 'node', supervisor: 'supervisor', endpoint: 'haproxy' };
  const docker = (host: PoolHost, ...args: string[]) => host.run('docker', args, { timeoutMs: 120_000 });
  const token = readFileSync(join(hostPaths(pool.first.root).tokens, 'bootstrap'), 'utf8').trim();

  const ground: Ground = {
    ...{ pool, kind, name },
    async root(member) {
      const { State } = await member.host.docker.getContainer(member.id).inspect();
      if (!State.Running || State.Pid === 0) throw new AppError('unavailable', `${member.id} does not run: ${State.Status}`);
      return State.Pid;
    },
    async pids(member, of) {
      const all = withDescendants([await ground.root(member)]);
      return all.filter((pid) => programOf(pid) === programs[of]);
    },
    async signal(member, of, how) {
      const pids = await ground.pids(member, of);
      for (const pid of pids) signal(pid, how);
      return pids.length;
    },
    docker,
    runFolder: (member) => join(hostPaths(member.host.root).membersRun, member.id),
    dataFolder: (member) => join(hostPaths(member.host.root).volumes, member.id, 'data'),
    async boot(...hosts) {
      for (const host of hosts) beforeBoot(host);
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
      const leader = JSON.parse(await ground.consul(on, 'GET', '/status/leader')) as string;
      return pool.hosts.find(({ address }) => leader.startsWith(`${address}:`));
    },
  };
  return ground;
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
