import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '#core/spawn.ts';
import { docker, memberImage } from '../appliance/xlb-sidecar-lab.ts';

export interface Endpoint {
  name: string;
  address: string;
  port: number;
}

export interface Backends {
  endpoints: Endpoint[];
  stop(): Promise<void>;
}

/**
 * Servers with a short answer: nginx of the member's own image, one worker a container, no log. Each of its ports is an endpoint of its own.
 *
 * @param ports so many in each container
 */
export async function startBackends(containers: number, ports: number): Promise<Backends> {
  const folder = await mkdtemp(join(tmpdir(), 'xb-'));
  await writeFile(join(folder, 'nginx.conf'), conf(ports), { mode: 0o644 });
  const image = await memberImage();
  const ids: string[] = [];
  const stop = async () => {
    if (ids.length > 0) await run('docker', ['rm', '--force', '--volumes', ...ids]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const endpoints: Endpoint[] = [];
    for (let i = 0; i < containers; i++) {
      const mount = ['--volume', `${folder}/nginx.conf:/bench.conf:ro`];
      const command = ['--entrypoint', 'nginx', image, '-e', 'stderr', '-c', '/bench.conf', '-g', 'daemon off;'];
      ids.push(await docker('run', '--detach', '--label', 'xcaas.test=bench', '--no-healthcheck', ...mount, ...command));
      const address = await addressOf(ids.at(-1) ?? '');
      for (let j = 0; j < ports; j++) endpoints.push({ name: `b${i}-${j}`, address, port: FIRST_PORT + j });
    }
    return { endpoints, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export function addressOf(container: string): Promise<string> {
  return docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container);
}

const FIRST_PORT = 8001;

function conf(ports: number): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path /tmp/${kind};`).join(' ');
  return `worker_processes 1;
pid /tmp/nginx.pid;
events { worker_connections 4096; }
http {
  ${temp}
  access_log off;
  keepalive_timeout 75s;
  keepalive_requests 1000000;
  tcp_nodelay on;
  server {
    listen ${FIRST_PORT}-${FIRST_PORT + ports - 1} backlog=4096;
    location / { default_type text/plain; return 200 "an answer of some sixty bytes, as short as those of health pages\\n"; }
  }
}
`;
}
