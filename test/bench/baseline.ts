import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '#core/spawn.ts';
import { docker, memberImage } from '../appliance/xlb-sidecar-lab.ts';
import { addressOf, type Endpoint } from './backends.ts';

/** What the load balancer is held against: the same engine of the same image, that never changes. HAProxy runs with the member's own file. */
export interface Baseline {
  container: string;
  address: string;
  stop(): Promise<void>;
}

/**
 * The member's own nginx.conf with everything of Lua taken out and a plain upstream in place of the balancer: workers, headers, log and buffers
 * are the same to the letter.
 *
 * @param rendered nginx.conf of the member
 */
export function staticNginx(rendered: string, endpoints: readonly Endpoint[]): string {
  const servers = endpoints.map(({ address, port }) => `server ${address}:${port};`);
  const keepalive = ['keepalive 1024;', 'keepalive_requests 10000;', 'keepalive_timeout 60s;'];
  const isLua = /^\s*(load_module|lua_|[a-z_]+_by_lua|balancer_keepalive|ssl_)/;
  const lines = rendered.split('\n').filter((line) => !isLua.test(line));
  const text = lines.join('\n').replace(/server\s+0\.0\.0\.1:1;/, [...servers, ...keepalive].join('\n'));
  if (!text.includes(servers[0] ?? 'server') || /_by_lua|listen \S+ ssl/.test(text))
    throw new Error(`no baseline could be made of the member's nginx.conf:\n${rendered}`);
  return text;
}

export function startBaseline(engine: 'nginx' | 'haproxy', conf: string, args: readonly string[]): Promise<Baseline> {
  return engine === 'nginx'
    ? start(conf, ['nginx', '-e', 'stderr', '-c', '/bench.conf', '-g', 'daemon off;'], args)
    : start(conf, ['haproxy', '-W', '-q', '-f', '/bench.conf'], args);
}

async function start(conf: string, command: readonly string[], args: readonly string[]): Promise<Baseline> {
  const folder = await mkdtemp(join(tmpdir(), 'xb-'));
  await writeFile(join(folder, 'bench.conf'), conf, { mode: 0o644 });
  const script = 'mkdir -p /run/xlb/tmp && exec "$0" "$@"';
  const container = await docker(
    ...['run', '--detach', '--label', 'xcaas.test=bench', '--no-healthcheck', '--memory', '512m', ...args],
    ...['--volume', `${folder}/bench.conf:/bench.conf:ro`, '--entrypoint', 'sh', await memberImage(), '-c', script, ...command],
  );
  return {
    container,
    address: await addressOf(container),
    async stop() {
      await run('docker', ['rm', '--force', '--volumes', container]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
