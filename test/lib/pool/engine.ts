import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createDocker } from '#core/docker.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { waitFor } from '#core/sleep.ts';
import { hierarchies, makeGroup } from './cgroup.ts';
import { makeWire, netnsPath } from './network.ts';
import { startTime } from './processes.ts';
import { groupName, hostRoot } from './remove.ts';
import type { ProcessRef } from './state.ts';
import { tool } from './tools.ts';

const ENTER = fileURLToPath(new URL('./enter.sh', import.meta.url));

/** What boots a host. */
export interface Machine {
  id: string;
  subnet: string;
  mtu: number;
  name: string;
  index: number;
  labels: Readonly<Record<string, string>>;
}

/** Where a host of a pool keeps things: the layout of a machine, below a folder of its own (`XCAAS_ROOT`). */
export function hostFiles(id: string, name: string) {
  const root = hostRoot(id, name);
  return {
    root,
    home: join(root, 'root'),
    dockerConfig: join(root, 'etc/docker/daemon.json'),
    dockerData: join(root, 'var/lib/docker'),
    dockerSocket: join(root, 'run/docker.sock'),
    containerdConfig: join(root, 'etc/containerd.toml'),
    containerdSocket: join(root, 'run/containerd.sock'),
    log: join(root, 'var/log/engine.log'),
  };
}

/** The disk of a host: made once, kept over reboots. */
export function makeDisk({ id, name, labels }: Machine): void {
  const files = hostFiles(id, name);
  for (const dir of ['run', 'etc/docker', 'var/lib/docker', 'var/lib/containerd', 'var/log', 'root', 'tmp'])
    mkdirSync(join(files.root, dir), { recursive: true });
  // Labels stand in the file, not on the command line, so that a host's labels can be changed while its engine runs (SIGHUP).
  const config = { labels: Object.entries(labels).map(([key, value]) => `${key}=${value}`), features: { 'containerd-snapshotter': false } };
  writeFileSync(files.dockerConfig, `${JSON.stringify(config, null, 2)}\n`);
  const run = join(files.root, 'run/containerd');
  writeFileSync(
    files.containerdConfig,
    [
      'version = 2',
      `root = ${JSON.stringify(join(files.root, 'var/lib/containerd'))}`,
      `state = ${JSON.stringify(join(run, 'state'))}`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]',
      '[grpc]',
      `address = ${JSON.stringify(files.containerdSocket)}`,
      '',
    ].join('\n'),
  );
}

/** Program and arguments that run `file` inside a host. */
export function inside({ id, name }: Pick<Machine, 'id' | 'name'>, file: string, args: readonly string[]): [string, string[]] {
  return [ENTER, [makeGroup(groupName(id, name)), netnsPath(id, name), name, file, ...args]];
}

/**
 * Switches a host on: empty memory file systems, a fresh network, an engine. The engine gets a containerd of its own, started here, because
 * it would otherwise take the machine's where one runs.
 *
 * @returns the processes started; the engine is not ready yet, see {@link engineReady}
 */
export async function switchOn(machine: Machine): Promise<ProcessRef[]> {
  const files = hostFiles(machine.id, machine.name);
  tool('mount', ['-t', 'tmpfs', '-o', 'mode=755,size=512m', poolTmpfs(machine), join(files.root, 'run')]);
  makeWire(machine.id, machine.subnet, machine.name, machine.index, machine.mtu);
  const group = groupName(machine.id, machine.name);
  makeGroup(group);
  const containerd = startDaemon(machine, 'containerd', ['--config', files.containerdConfig]);
  const there = await waitFor(async () => (existsSync(files.containerdSocket) ? true : undefined), { timeoutMs: 20_000, intervalMs: 20 });
  if (!there) throw new AppError('engine', `containerd of ${machine.name} did not start:\n${lastLog(files.log)}`);
  const dockerd = startDaemon(machine, 'dockerd', [
    ...['--config-file', files.dockerConfig],
    ...['--data-root', files.dockerData],
    ...['--exec-root', join(files.root, 'run/docker')],
    ...['--pidfile', join(files.root, 'run/docker.pid')],
    ...['--containerd', files.containerdSocket],
    ...['--host', `unix://${files.dockerSocket}`],
    ...['--exec-opt', 'native.cgroupdriver=cgroupfs'],
    ...['--cgroup-parent', hierarchies().v2 ? `/${group}/containers` : `/${group}`],
  ]);
  return [containerd, dockerd];
}

const poolTmpfs = (machine: Machine): string => `xp-${machine.id}-${machine.name}`;

function startDaemon(machine: Machine, file: string, args: readonly string[]): ProcessRef {
  const { log, home } = hostFiles(machine.id, machine.name);
  const out = openSync(log, 'a');
  try {
    const child = spawn(...inside(machine, file, args), {
      stdio: ['ignore', out, out],
      detached: true,
      env: { PATH: process.env.PATH, HOME: home, TMPDIR: join(hostRoot(machine.id, machine.name), 'tmp') },
    });
    child.on('error', () => undefined);
    child.unref();
    if (child.pid === undefined) throw new AppError('internal', `${file} of ${machine.name} could not be started`);
    return { pid: child.pid, start: startTime(child.pid) ?? '' };
  } finally {
    closeSync(out);
  }
}

/** Waits until the engine answers. @throws AppError `engine` with the end of its log */
export async function engineReady(machine: Machine, timeoutMs = 60_000): Promise<void> {
  const files = hostFiles(machine.id, machine.name);
  const docker = createDocker({ socketPath: files.dockerSocket });
  let reason = '';
  const ready = await waitFor(
    async () => {
      try {
        // A ping that is not answered does not end by itself.
        await Promise.race([docker.ping(), after(5000).then(() => Promise.reject(new Error('no answer within 5 s')))]);
        return true;
      } catch (error) {
        reason = messageOf(error);
        return undefined;
      }
    },
    { timeoutMs, intervalMs: 50 },
  );
  if (!ready)
    throw new AppError('engine', `the engine of ${machine.name} does not answer (${reason}); its log ends:\n${lastLog(files.log)}`);
}

export function lastLog(path: string, lines = 15): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
