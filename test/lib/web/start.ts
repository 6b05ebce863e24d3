import { fileURLToPath } from 'node:url';
import type { PoolHost } from '../pool/host.ts';

/** The smallest image that runs Node here: this program's own Node is mounted into it, it needs glibc and libstdc++ only. */
export const PLAIN_IMAGE = 'debian:trixie-slim';
export const SERVER = fileURLToPath(new URL('./server.mjs', import.meta.url));

/**
 * Arguments of `docker run` that run Node on mounted scripts: mounts, image and program; the script's path follows.
 *
 * @param image one with Node of its own; without it {@link PLAIN_IMAGE} with the Node that runs this program
 * @param scripts file here → path in the container
 */
export function nodeRunArgs({ image, scripts }: { image?: string | undefined; scripts: Record<string, string> }): string[] {
  const mounts = { ...scripts, ...(image === undefined ? { [process.execPath]: '/usr/local/bin/node' } : {}) };
  const volumes = Object.entries(mounts).flatMap(([file, path]) => ['--volume', `${file}:${path}:ro`]);
  return [...volumes, '--entrypoint', 'node', image ?? PLAIN_IMAGE];
}

export interface WebOptions {
  name: string;
  network: string;
  aliases?: readonly string[];
  labels?: Record<string, string>;
  env?: Record<string, string>;
  /** Further networks it joins. */
  networks?: readonly string[];
  /** `no` if not given. */
  restart?: 'no' | 'unless-stopped';
  image?: string;
  /** `HOSTPORT:PORT` */
  publish?: readonly string[];
}

/** Runs the test web server (port 8080) in a container of a pool's host. @returns the container's id */
export async function startWeb(host: PoolHost, options: WebOptions): Promise<string> {
  const { name, network, aliases = [], labels = {}, env = {}, networks = [], restart = 'no', image, publish = [] } = options;
  const args = [
    ...['run', '--detach', '--name', name, '--restart', restart, '--stop-timeout', '10'],
    ...['--network', network, ...aliases.flatMap((alias) => ['--network-alias', alias])],
    ...networks.flatMap((other) => ['--network', other]),
    ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
    ...Object.entries({ WEB_NAME: name, ...env }).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    ...publish.flatMap((ports) => ['--publish', ports]),
    ...nodeRunArgs({ image, scripts: { [SERVER]: '/server.mjs' } }),
    '/server.mjs',
  ];
  return (await host.run('docker', args)).trim();
}
