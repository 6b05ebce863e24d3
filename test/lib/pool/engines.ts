import { getuid } from 'node:process';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { hostFiles, type Machine, makeDisk } from './engine.ts';
import { PoolHost } from './host.ts';
import { keepTemplate, loadImages, machineDocker, templateKey, useTemplate } from './images.ts';
import { freeSubnet, makeBridge, uplinkMtu } from './network.ts';
import { cutPower, removePool, sweepPools } from './remove.ts';
import { claimId, type PoolState, poolDir, thisProcess, writeState } from './state.ts';
import { formSwarm } from './swarm.ts';

export interface HostOptions {
  /** `n1`, `n2`, … if not given. */
  name?: string;
  group?: string;
  rack?: string;
  storage?: string;
  /** Further engine labels. */
  labels?: Record<string, string>;
}

export interface EnginesOptions {
  /** How many, or one description each. Groups are `group1`…`group3` in turn, each host has a rack of its own, storage is `ssd`. */
  hosts?: number | readonly HostOptions[];
  /** Images of this machine's engine that every host of the pool gets. */
  images?: readonly string[];
  /** MTU of the hosts' wires; that of the machine's way out if not given. */
  mtu?: number;
  /** Also makes a Swarm of them, the first so many as managers (`true`: 1). */
  swarm?: boolean | number;
}

export interface Engines {
  readonly id: string;
  readonly hosts: readonly PoolHost[];
  /** @throws AppError `not_found` */
  host(name: string): PoolHost;
  /** Copies images from this machine's engine to all hosts that are on. */
  loadImages(tags: readonly string[]): Promise<void>;
  /** Cuts the power of several hosts in one moment. */
  kill(hosts: readonly PoolHost[]): void;
  /** Cuts the power of all these hosts in one moment, then switches them on in this order, `pauseMs` apart, and waits until all engines answer. */
  powerCycle(hosts: readonly PoolHost[], options?: { pauseMs?: number; offMs?: number }): Promise<void>;
  /** Removes every trace of the pool. Also done when the program ends in any way it can notice; else by the next pool's start. */
  stop(): void;
}

/** Pools of this program that are still up, with what removes them. */
const running = new Map<string, () => void>();
let guarded = false;

/**
 * Starts a pool of real Docker engines on this machine, each in a network namespace of its own on a common bridge, and removes what pools of
 * dead programs left behind. Needs root, `dockerd`, `containerd`, `ip`, `iptables`.
 *
 * @throws AppError `forbidden` without root, `engine` when an engine does not come up; nothing is left behind then
 */
export async function startEngines({ hosts = 3, images = [], mtu = uplinkMtu(), swarm = false }: EnginesOptions = {}): Promise<Engines> {
  if (getuid?.() !== 0) throw new AppError('forbidden', 'a pool of engines needs root', { hint: 'run the tests as root' });
  sweepPools();
  const id = claimId();
  const list: PoolHost[] = [];
  const state: PoolState = { v: 1, id, owner: thisProcess(), created: new Date().toISOString(), subnet: '', hosts: [] };
  const stop = () => {
    running.delete(id);
    removePool(id, state);
    for (const host of list) host.power = 'off';
  };
  running.set(id, stop);
  guard();
  try {
    // Recorded before the first thing is made.
    state.subnet = freeSubnet();
    const record = () => {
      state.hosts = list.map(({ name, processes }) => ({ name, processes: [...processes] }));
      writeState(state);
    };
    const machines = describeHosts(hosts).map((host, at): Machine => ({ id, subnet: state.subnet, mtu, index: at + 1, ...host }));
    list.push(...machines.map((machine) => new PoolHost(machine, { changed: record, peers: () => list })));
    record();
    makeBridge(id, state.subnet, mtu);
    const key = images.length === 0 ? undefined : await templateKey(machineDocker(), images);
    let missing = false;
    for (const machine of machines) {
      makeDisk(machine);
      if (key !== undefined && !(await useTemplate(key, hostFiles(id, machine.name).dockerData))) missing = true;
    }
    await Promise.all(list.map((host) => host.boot()));
    if (key !== undefined && missing) {
      await loadImages(
        machineDocker(),
        images,
        list.map((host) => host.docker),
      );
      await keepTemplate(key, hostFiles(id, list[0]!.name).dockerData, poolDir(id));
    }
    if (swarm !== false) await formSwarm(list, { managers: swarm === true ? 1 : swarm });
  } catch (error) {
    stop();
    throw error;
  }
  const kill = (dying: readonly PoolHost[]) => {
    for (const host of dying) host.power = 'off';
    cutPower(id, dying);
    for (const host of dying) host.died(() => undefined);
  };
  return {
    id,
    hosts: list,
    host(name) {
      const found = list.find((host) => host.name === name);
      if (!found) throw new AppError('not_found', `the pool has no host ${name}, only ${list.map((host) => host.name).join(', ')}`);
      return found;
    },
    loadImages: (tags) =>
      loadImages(
        machineDocker(),
        tags,
        list.filter((host) => host.power === 'on').map((host) => host.docker),
      ),
    kill,
    async powerCycle(cycled, { pauseMs = 0, offMs } = {}) {
      kill(cycled.filter((host) => host.power !== 'off'));
      for (const [at, host] of cycled.entries()) {
        if (at > 0) await sleep(pauseMs);
        await host.boot({ wait: false, ...(offMs === undefined ? {} : { offMs }) });
      }
      await Promise.all(cycled.map((host) => host.ready()));
    },
    stop,
  };
}

/** Names and labels of the hosts to start. */
export function describeHosts(hosts: number | readonly HostOptions[]): { name: string; labels: Record<string, string> }[] {
  const options: readonly HostOptions[] = typeof hosts === 'number' ? Array.from({ length: hosts }, () => ({})) : hosts;
  return options.map((host, at) => ({
    name: host.name ?? `n${at + 1}`,
    labels: {
      'com.alipay.acs.topic.group': host.group ?? `group${(at % 3) + 1}`,
      'com.alipay.acs.topic.rack': host.rack ?? `rack${at + 1}`,
      storage: host.storage ?? 'ssd',
      ...host.labels,
    },
  }));
}

/** Removes the pools of this program however it ends, SIGKILL aside. */
function guard(): void {
  if (guarded) return;
  guarded = true;
  const stopAll = () => {
    for (const stop of [...running.values()]) stop();
  };
  process.on('exit', stopAll);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = () => {
      stopAll();
      process.off(name, onSignal);
      // Others may want the signal too; alone, we must end by it ourselves.
      if (process.listenerCount(name) === 0) process.kill(process.pid, name);
    };
    process.on(name, onSignal);
  }
}
