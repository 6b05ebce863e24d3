import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConsul } from '#core/consul/client.ts';
import { type HostPaths, hostPaths } from '#core/paths.ts';
import { run } from '#core/spawn.ts';
import { waitForLeader } from '#ground/found-acl.ts';
import { consulImage } from '#test/consul.ts';

/** One host of a test's pool: its paths, and its Consul in a container with its own address. */
export interface GroundHost {
  paths: HostPaths;
  address: string;
  container: string;
  /** Starts its Consul with the configuration that lies there, and waits for its socket and, unless told otherwise, a leader. */
  start(options?: { waitForLeader?: boolean }): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM, as `docker stop` and a shutdown do. */
  terminate(): Promise<void>;
}

export interface GroundHosts {
  /** Hosts share one network namespace without a way out; each has an address of 127.0.10.0/24 there. */
  add(): Promise<GroundHost>;
  /** Ports (TCP) that something listens on in the hosts' namespace, as `address:port` in hex like /proc/net/tcp. */
  listening(): Promise<string[]>;
  stop(): Promise<void>;
}

export async function createGroundHosts(): Promise<GroundHosts> {
  const image = await consulImage();
  const folder = await mkdtemp(join(tmpdir(), 'xc-'));
  const prefix = `xcaas-test-ground-${folder.slice(-6).toLowerCase()}-${process.pid}`;
  const holder = `${prefix}-net`;
  const containers = [holder];
  const docker = async (...args: string[]) => {
    const { code, stderr, stdout } = await run('docker', args);
    if (code !== 0) throw new Error(`docker ${args[0]}: ${stderr}`);
    return stdout;
  };
  await docker('run', '--detach', '--name', holder, '--network', 'none', '--entrypoint', 'sleep', image, 'infinity');

  return {
    async add() {
      const number = containers.length;
      const paths = hostPaths(join(folder, `h${number}`));
      const container = `${prefix}-${number}`;
      containers.push(container);
      let created = false;
      return {
        paths,
        address: `127.0.10.${number}`,
        container,
        async start(options = {}) {
          if (!created) {
            await docker(
              ...['create', '--name', container, '--network', `container:${holder}`, '--user', '0:0', '--volume', `${folder}:${folder}`],
              ...['--entrypoint', 'consul', image, 'agent', '-config-dir', paths.consulConfig],
            );
            created = true;
          }
          await docker('start', container);
          if (options.waitForLeader === false) return;
          const consul = createConsul({ socketPath: paths.consulSocket });
          try {
            await waitForLeader(consul, 60_000);
          } catch (cause) {
            const { stdout, stderr } = await run('docker', ['logs', '--tail', '40', container]);
            throw new Error(`${container} does not work:\n${stdout}${stderr}`, { cause });
          } finally {
            consul.close();
          }
        },
        async kill() {
          await docker('kill', container);
        },
        async terminate() {
          await docker('stop', '--time', '10', container);
        },
      };
    },
    async listening() {
      const table = await docker('exec', holder, 'cat', '/proc/net/tcp', '/proc/net/tcp6');
      const rows = table.split('\n').map((line) => line.trim().split(/\s+/));
      return rows.filter((row) => row[3] === '0A').map((row) => row[1] ?? '');
    },
    async stop() {
      await run('docker', ['rm', '-f', ...containers]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
