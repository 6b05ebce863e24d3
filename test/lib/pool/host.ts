import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createDocker, type Docker } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import { sleep, waitFor } from '#core/sleep.ts';
import type { SpawnResult } from '#core/spawn.ts';
import { freezeGroup, thawGroup } from './cgroup.ts';
import { engineReady, hostFiles, inside, type Machine, switchOn } from './engine.ts';
import { applyFaults, type NetworkFaults } from './faults.ts';
import { hostAddress, netnsPath } from './network.ts';
import { startTime } from './processes.ts';
import { cutPower, groupName, type HostRemains, hostPids } from './remove.ts';
import type { ProcessRef } from './state.ts';

export interface ExecOptions {
  /** Added to the environment of the test program and of the host. */
  env?: Record<string, string>;
  cwd?: string;
  input?: string;
  /** Milliseconds, 120,000 if not given. */
  timeoutMs?: number;
}

/** Pipes each connection to a unix socket into one to the loopback. */
const FORWARD = `const net = require('node:net'); const [path, port] = process.argv.slice(1);
net.createServer({ allowHalfOpen: true }, (a) => {
  const b = net.connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true });
  a.pipe(b); b.pipe(a);
  a.on('error', () => b.destroy()); b.on('error', () => a.destroy());
}).listen(path);`;

export type Power = 'off' | 'on' | 'frozen';

/** One machine of a test pool: a real Docker engine in a network namespace of its own. All addresses are as a machine's would be. */
export class PoolHost implements HostRemains {
  readonly name: string;
  readonly index: number;
  readonly address: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Value for DOCKER_HOST. */
  readonly dockerHost: string;
  /** Value for XCAAS_ROOT: the host's own `/var/lib`, `/run` (in memory), `/etc` and `/root` are below it. */
  readonly root: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The host's engine, asked over its socket: answers also when the host is cut off, not while it is frozen or dead. */
  readonly docker: Docker;
  /** @internal Processes started by us, for clean-up. */
  processes: ProcessRef[] = [];
  power: Power = 'off';

  readonly #machine: Machine;
  readonly #changed: () => void;
  readonly #peers: () => readonly PoolHost[];
  #diedAt: number | undefined;
  readonly #faults: NetworkFaults = { deafTo: new Set() };

  /** @internal Hosts are made by `startEngines`. */
  constructor(machine: Machine, { changed, peers }: { changed: () => void; peers: () => readonly PoolHost[] }) {
    this.#machine = machine;
    this.#changed = changed;
    this.#peers = peers;
    const files = hostFiles(machine.id, machine.name);
    this.name = machine.name;
    this.index = machine.index;
    this.address = hostAddress(machine.subnet, machine.index);
    this.netns = netnsPath(machine.id, machine.name);
    this.dockerHost = `unix://${files.dockerSocket}`;
    this.root = files.root;
    this.labels = machine.labels;
    this.docker = createDocker({ socketPath: files.dockerSocket });
  }

  /** Environment of a program on this host. */
  get env(): Record<string, string> {
    return { DOCKER_HOST: this.dockerHost, XCAAS_ROOT: this.root, HOME: hostFiles(this.#machine.id, this.name).home };
  }

  /**
   * Runs a program on this host, as over ssh: in its network, under its name, with its engine; files are the machine's.
   *
   * @throws AppError `unavailable` when the host is off or frozen, `timeout`, `internal` when it could not be started
   */
  exec(file: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<SpawnResult> {
    const { timeoutMs = 120_000, input = '' } = options;
    return new Promise((resolve, reject) => {
      const child = this.start(file, args, options);
      let stdout = '';
      let stderr = '';
      // Not left to the end of the process: frozen with its host, a killed process does not end.
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(
          new AppError(
            'timeout',
            `${file} ${args.join(' ')} on ${this.name} did not end within ${timeoutMs} ms; it said: ${stdout.slice(-500)} ${stderr.slice(-500)}`,
          ),
        );
      }, timeoutMs);
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
      child.on('error', (cause) => {
        clearTimeout(timer);
        reject(new AppError('internal', `${file} could not be started on ${this.name}: ${cause.message}`, { cause }));
      });
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? 128, stdout, stderr });
      });
    });
  }

  /** As {@link exec}, for programs that must succeed. @returns what it wrote @throws AppError `internal` with what it said */
  async run(file: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.exec(file, args, options);
    if (code !== 0)
      throw new AppError(
        'internal',
        `${file} ${args.join(' ')} on ${this.name} ended with ${code}: ${(stderr || stdout).trim().slice(-2000)}`,
      );
    return stdout;
  }

  /** Starts a program on this host and leaves it running; it dies with the host. @throws AppError `unavailable` */
  start(file: string, args: readonly string[] = [], { env = {}, cwd }: Pick<ExecOptions, 'env' | 'cwd'> = {}): ChildProcess {
    if (this.power !== 'on') throw new AppError('unavailable', `host ${this.name} is ${this.power}`);
    const { DOCKER_CONTEXT: _, ...inherited } = process.env;
    return spawn(...inside(this.#machine, file, args), {
      env: { ...inherited, ...this.env, ...env },
      ...(cwd ? { cwd } : {}),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  /**
   * Makes a port of the host's loopback reachable from the test program, which is in another network: as a unix socket, gone when the host dies.
   *
   * @throws AppError `unavailable`
   */
  async forward(port: number): Promise<{ socketPath: string; stop(): void }> {
    const socketPath = join(this.root, `run/forward-${port}-${randomBytes(3).toString('hex')}.sock`);
    const child = this.start(process.execPath, ['-e', FORWARD, socketPath, String(port)]);
    const there = await waitFor(async () => (existsSync(socketPath) ? true : undefined), { timeoutMs: 10_000, intervalMs: 20 });
    if (!there) throw new AppError('unavailable', `could not forward port ${port} of ${this.name}`);
    return { socketPath, stop: () => void child.kill('SIGKILL') };
  }

  /** All processes of the host: engine, containers, programs started on it. */
  pids(): number[] {
    return hostPids(this.#machine.id, this);
  }

  // Network faults. They add up until heal(); they stay over kill() and boot().

  /** Cuts the host off from all others and from the way out; its containers still reach one another. */
  cut(how: 'silent' | 'unplugged' = 'silent'): void {
    this.#faults.cut = how;
    this.#apply();
  }

  /** Cuts the two hosts off from one another, in both directions; others reach both. */
  cutFrom(other: PoolHost): void {
    this.dropOneWay(other, 'both');
  }

  /** `in`: what `other` sends does not arrive here; `out`: what this host sends does not arrive there. */
  dropOneWay(other: PoolHost, direction: 'in' | 'out' | 'both'): void {
    if (direction !== 'out') this.#faults.deafTo.add(other.index);
    if (direction !== 'in') other.#faults.deafTo.add(this.index);
    this.#apply();
    other.#apply();
  }

  /** Cuts the host off from all others for these TCP and UDP ports, whichever side they are on. */
  cutPorts(ports: readonly number[]): void {
    this.#faults.deafPorts = [...(this.#faults.deafPorts ?? []), { ports }];
    this.#apply();
    for (const peer of this.#peers()) {
      if (peer === this) continue;
      peer.#faults.deafPorts = [...(peer.#faults.deafPorts ?? []), { from: this.index, ports }];
      peer.#apply();
    }
  }

  /** Delays everything the host sends. @throws AppError `not_implemented` where the kernel has no netem (see `kernelHasDelay`) */
  slow(ms: number): void {
    this.#faults.delayMs = ms;
    try {
      this.#apply();
    } catch (error) {
      this.#faults.delayMs = undefined;
      throw error;
    }
  }

  /** Limits what the host sends to so many kilobits a second. */
  rate(kbitPerSecond: number): void {
    this.#faults.kbitPerSecond = kbitPerSecond;
    this.#apply();
  }

  /** Loses this share (0–1) of the packets that arrive. */
  loss(share: number): void {
    this.#faults.loss = share;
    this.#apply();
  }

  /** Ends all network faults of this host, also those it has together with others. */
  heal(): void {
    const faults = this.#faults;
    faults.cut = undefined;
    faults.delayMs = undefined;
    faults.kbitPerSecond = undefined;
    faults.loss = undefined;
    faults.deafPorts = [];
    faults.deafTo.clear();
    this.#apply();
    for (const peer of this.#peers()) {
      const ports = peer.#faults.deafPorts ?? [];
      const others = ports.filter(({ from }) => from !== this.index);
      peer.#faults.deafPorts = others;
      if (peer.#faults.deafTo.delete(this.index) || others.length < ports.length) peer.#apply();
    }
  }

  #apply(): void {
    if (this.power !== 'off') applyFaults(this.#machine, this.#faults);
  }

  // Power.

  /** Stops every process of the host at once, as a machine that hangs; its kernel still answers (TCP acknowledgements, ping). */
  freeze(): void {
    freezeGroup(groupName(this.#machine.id, this.name));
    this.power = 'frozen';
  }

  thaw(): void {
    thawGroup(groupName(this.#machine.id, this.name));
    if (this.power === 'frozen') this.power = 'on';
  }

  /** Power cut: nobody hears from the host again, what it had in memory is gone, its disks stay. Blocks for a moment. */
  kill(): void {
    this.died(() => cutPower(this.#machine.id, [this]));
  }

  /** @internal For several hosts in one moment. */
  died(how: () => void): void {
    this.power = 'off';
    how();
    this.#diedAt = performance.now();
    this.processes = [];
    this.#changed();
  }

  /**
   * Switches the host on: containers with a restart policy come back, `/run` is empty.
   *
   * @param offMs it stays off at least so long after a power cut, as long as the fastest real machine needs. Shorter (tried: below about 5 s),
   *   Swarm's manager still holds the old session: the engine's start takes 20 s longer and its containers on overlays stay `Exited`.
   * @param wait false: do not wait until the engine answers (see {@link ready}); the engine of a Swarm manager without a majority takes long
   * @throws AppError `engine`
   */
  async boot({ wait = true, offMs = 8000 }: { wait?: boolean; offMs?: number } = {}): Promise<void> {
    if (this.power !== 'off') throw new AppError('conflict', `host ${this.name} is ${this.power}`);
    if (this.#diedAt !== undefined) await sleep(this.#diedAt + offMs - performance.now());
    this.power = 'on';
    this.processes = await switchOn(this.#machine);
    this.#changed();
    this.#apply();
    if (wait) await this.ready();
  }

  /** Waits until the engine answers. @throws AppError `engine` */
  ready(timeoutMs = 90_000): Promise<void> {
    return engineReady(this.#machine, timeoutMs);
  }

  /** Ends dockerd or containerd alone, at once; the machine and its containers stay. Nothing starts it again but a reboot. */
  async killDaemon(which: 'dockerd' | 'containerd'): Promise<void> {
    const known = this.processes[which === 'containerd' ? 0 : 1];
    if (!known || startTime(known.pid) !== known.start) return;
    process.kill(known.pid, 'SIGKILL');
    while (startTime(known.pid) === known.start) await sleep(10);
  }
}
