import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { PoolHost } from '#test/pool/host.ts';
import { nodeRunArgs } from '#test/web/start.ts';

/** Starts {@link ./writer.ts} in containers of a pool's hosts. */
export interface Writers {
  start(host: PoolHost, options: { kind: 'plain' | 'sentinel'; cache: string; user: string; password: string }): Promise<Writer>;
  remove(): Promise<void>;
}

export interface Writer {
  /** Ends it. @returns what it says of all it wrote */
  stop(): Promise<WriterReport>;
}

export interface WriterReport {
  tried: number;
  acked: number;
  failed: number;
  /** Acknowledged and not there any more: number and time of each. */
  missing: { n: number; at: number }[];
  /** Milliseconds of the slowest write that was acknowledged. */
  slowestMs: number;
  errors: string[];
}

export async function prepareWriters(): Promise<Writers> {
  const folder = await mkdtemp(join(tmpdir(), 'xcaw-'));
  await chmod(folder, 0o755);
  const outfile = join(folder, 'writer.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'writer.ts')],
    ...{ outfile, bundle: true, platform: 'node', target: 'node20', format: 'esm', legalComments: 'none', logLevel: 'error' },
    banner: { js: "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);" },
  });
  await chmod(outfile, 0o644);
  let count = 0;
  return {
    async start(host, { kind, cache, user, password }) {
      count += 1;
      const name = `writer-${count}`;
      const env = { CACHE: cache, CACHE_USER: user, KIND: kind, ID: `${kind}-${count}` };
      await host.run(
        'docker',
        [
          ...['run', '--detach', '--name', name, '--network', 'xcaas', '--stop-timeout', '60', '--env', 'PASSWORD'],
          ...Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
          ...nodeRunArgs({ scripts: { [outfile]: '/writer.mjs' } }),
          '/writer.mjs',
        ],
        { env: { PASSWORD: password }, timeoutMs: 60_000 },
      );
      return {
        async stop() {
          await host.run('docker', ['stop', name], { timeoutMs: 90_000 });
          const { stdout, stderr } = await host.exec('docker', ['logs', name], { timeoutMs: 30_000 });
          await host.run('docker', ['rm', '--force', name]);
          return reportOf(stdout, stderr);
        },
      };
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

function reportOf(stdout: string, stderr: string): WriterReport {
  const lines = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Record<string, unknown>]));
  const end = lines.find((line) => line.end === true) as (WriterReport & { end: true }) | undefined;
  if (end === undefined) throw new Error(`a writer did not end as it should: ${stderr || stdout.slice(-2000)}`);
  const { tried, acked, failed, missing } = end;
  const slowestMs = Math.max(0, ...lines.flatMap((line) => (line.slow === undefined ? [] : [Number(line.ms)])));
  return { tried, acked, failed, missing, slowestMs, errors: lines.flatMap(({ error }) => (error === undefined ? [] : [String(error)])) };
}
