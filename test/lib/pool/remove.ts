import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { freezeGroup, groupPids, removeGroup, thawGroup } from './cgroup.ts';
import { removeTree, unmountBelow } from './mounts.ts';
import { netnsPath, portName, removeNetwork, removeWire } from './network.ts';
import { pause, pidsInNetns, signal, startTime, withDescendants } from './processes.ts';
import { knownPools, ownerAlive, type PoolState, type ProcessRef, poolDir, poolPrefix } from './state.ts';
import { tool } from './tools.ts';

/** A host as far as taking it down needs to know it. */
export interface HostRemains {
  name: string;
  index: number;
  processes: readonly ProcessRef[];
}

export const groupName = (id: string, host: string): string => `${poolPrefix(id)}/${host}`;
export const hostRoot = (id: string, host: string): string => join(poolDir(id), host);

/**
 * Ends all processes of some hosts of a pool in one moment, and takes away what a power cut would: wires first, so that no peer hears a
 * word of it (a dying process' connections would be closed politely), then memory file systems and network state. Disks stay. Blocks.
 */
export function cutPower(id: string, hosts: readonly HostRemains[]): void {
  for (const host of hosts) tool('ip', ['link', 'set', portName(id, host.index), 'down'], { tolerate: true });
  for (const host of hosts) {
    try {
      freezeGroup(groupName(id, host.name));
    } catch {
      // No such group any more, or a process in it cannot be stopped now: killing it one by one is good enough.
    }
  }
  for (let round = 0; round < 200; round++) {
    const pids = hosts.flatMap((host) => hostPids(id, host));
    for (const pid of pids) signal(pid, 'SIGKILL');
    for (const host of hosts) thawGroup(groupName(id, host.name), { deep: true });
    if (pids.every((pid) => startTime(pid) === undefined)) break;
    pause(round < 20 ? 10 : 50);
  }
  for (const host of hosts) {
    removeShimSockets(id, host.name);
    unmountBelow(hostRoot(id, host.name));
    removeWire(id, host.name, host.index);
    removeGroup(groupName(id, host.name));
  }
}

/** Processes of a host: those in its control group, in its network namespace, or descending from what was started for it. */
export function hostPids(id: string, host: HostRemains): number[] {
  const started = host.processes.filter((known) => startTime(known.pid) === known.start).map((known) => known.pid);
  return [
    ...new Set([...groupPids(groupName(id, host.name)), ...pidsInNetns([netnsPath(id, host.name)]), ...withDescendants(started)]),
  ].filter((pid) => pid !== process.pid && startTime(pid) !== undefined);
}

/** containerd's shims listen below /run/containerd/s whatever its own folders are; killed ones leave their sockets there. */
function removeShimSockets(id: string, host: string): void {
  const tasks = join(hostRoot(id, host), 'run/containerd/state/io.containerd.runtime.v2.task/moby');
  if (!existsSync(tasks)) return;
  for (const task of readdirSync(tasks)) {
    for (const file of ['address', 'bootstrap.json']) {
      try {
        const socket = /\/run\/containerd\/s\/[0-9a-f]{16,}/.exec(readFileSync(join(tasks, task, file), 'utf8'))?.[0];
        if (socket) rmSync(socket, { force: true });
      } catch {
        // This version of containerd writes the other file.
      }
    }
  }
}

/** Removes every trace of a pool: processes, mounts, network, control groups, folder. Safe to repeat, needs no records. Blocks. */
export function removePool(id: string, state: PoolState | undefined): void {
  const hosts = (state?.hosts ?? []).map((host, index) => ({ ...host, index: index + 1 }));
  cutPower(id, hosts);
  const strays = groupPids(poolPrefix(id));
  for (const pid of strays) signal(pid, 'SIGKILL');
  thawGroup(poolPrefix(id), { deep: true });
  for (let round = 0; round < 100 && strays.some((pid) => startTime(pid) !== undefined); round++) pause(20);
  removeNetwork(id);
  removeGroup(poolPrefix(id));
  removeTree(poolDir(id));
}

/**
 * Removes the pools whose owners are dead. A folder without readable records is somebody's pool in its first instant, unless it is old.
 *
 * @returns their ids
 */
export function sweepPools(): string[] {
  const dead = knownPools().filter((pool) => (pool.state ? !ownerAlive(pool.state) : pool.ageSeconds > 120));
  for (const pool of dead) removePool(pool.id, pool.state);
  return dead.map((pool) => pool.id);
}
