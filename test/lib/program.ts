import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import type { PoolHost } from './pool/host.ts';
import { nodeRunArgs } from './web/start.ts';

/** Where a driver runs: this machine's own network if neither is given. */
export interface From {
  /** In the network of a pool's host; the driver hangs and dies with that host. */
  inHost?: PoolHost | undefined;
  /** In a container on a host's engine, on these networks: the only way to reach an overlay's addresses. */
  inContainer?: { host: Pick<PoolHost, 'env'>; network: string; image?: string | undefined; name?: string | undefined } | undefined;
}

/**
 * Starts a driver where it is to run, its input and output as pipes.
 *
 * @param file a bundled program, see {@link bundledProgram}
 * @param folders of this machine, which a container sees at the same path
 */
export function spawnProgram(
  { inHost, inContainer }: From,
  file: string,
  { folders = [] }: { folders?: readonly string[] } = {},
): ChildProcess {
  if (inHost) return inHost.start(process.execPath, [file]);
  if (!inContainer) return spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'pipe'] });
  const { host, network, image, name } = inContainer;
  const args = [
    ...['run', '--interactive', '--rm', '--network', network],
    ...(name ? ['--name', name] : []),
    ...folders.flatMap((folder) => ['--volume', `${folder}:${folder}`]),
    ...nodeRunArgs({ image, scripts: { [file]: '/worker.cjs' } }),
    '/worker.cjs',
  ];
  return spawn('docker', args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...host.env } });
}

const built = new Map<string, string>();

/**
 * A program in one file, named by its content: programs that run at the same time share it.
 *
 * @param entry path of its first file
 */
export function bundledProgram(entry: string, { name, external = [] }: { name: string; external?: string[] }): string {
  const known = built.get(entry);
  if (known !== undefined) return known;
  const { outputFiles } = buildSync({
    entryPoints: [entry],
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external,
    logLevel: 'warning',
  });
  const { contents, hash } = outputFiles[0]!;
  const file = join(tmpdir(), `xcaas-${name}-${hash.replace(/[^A-Za-z0-9]/g, '')}.cjs`);
  if (!existsSync(file)) {
    writeFileSync(`${file}.${process.pid}`, contents);
    renameSync(`${file}.${process.pid}`, file);
  }
  built.set(entry, file);
  return file;
}
