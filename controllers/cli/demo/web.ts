import { AppError } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { VERSION } from '#core/version.ts';

/** Its value is the number of the demo's process, so that another demo can tell what a killed one left. */
const LABEL = 'xcaas.demo';
export const WEB_PORT = 8080;

/**
 * The application: answers with its name after 20 ms, as if it had worked, and ends its requests before it ends itself. Connections stay open
 * longer than the load balancer keeps them, so that it is never the application that closes one just as a request comes.
 */
const APPLICATION = `
const server = require('node:http').createServer((request, response) => {
  request.resume();
  const body = JSON.stringify({ container: process.env.DEMO_NAME, version: process.env.DEMO_VERSION });
  setTimeout(() => response.writeHead(200, { 'content-type': 'application/json' }).end(body), 20);
});
server.keepAliveTimeout = 120000;
process.on('SIGTERM', () => server.close(() => process.exit(0)));
server.listen(${WEB_PORT});
`;

/** The demo's containers on this host's own engine: the image is the control plane's, which is on every host and has Node. */
export const web = {
  async run(name: string, version: string, network: string): Promise<void> {
    await docker([
      ...['run', '--detach', '--name', name, '--pull', 'never', '--network', network, '--expose', String(WEB_PORT)],
      ...['--label', `${LABEL}=${process.pid}`, '--memory', '256m', '--stop-timeout', '10'],
      ...['--env', `DEMO_NAME=${name}`, '--env', `DEMO_VERSION=${version}`],
      ...[await image(), 'node', '-e', APPLICATION],
    ]);
  },
  async kill(name: string): Promise<void> {
    await docker(['kill', name]);
  },
  async start(name: string): Promise<void> {
    await docker(['start', name]);
  },
  async remove(name: string): Promise<void> {
    await docker(['rm', '--force', name]);
  },
  /** Containers of demos on this host, with the process that made each. */
  async list(): Promise<{ name: string; pid: number }[]> {
    const rows = await docker(['ps', '--all', '--filter', `label=${LABEL}`, '--format', `{{.Names}} {{.Label "${LABEL}"}}`]);
    return rows.split('\n').flatMap((row) => {
      const [name, pid] = row.split(' ');
      return name ? [{ name, pid: Number(pid) }] : [];
    });
  },
};

async function image(): Promise<string> {
  const running = await run('docker', ['inspect', '--format', '{{.Image}}', 'xcaas-agent']);
  return running.code === 0 ? running.stdout.trim() : `xcaas/control:${VERSION}`;
}

async function docker(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args, { timeoutMs: 60_000 });
  if (code !== 0) {
    throw new AppError('engine', `docker ${args[0]} failed: ${stderr.trim().split('\n').at(-1) ?? `exit ${code}`}`, {
      hint: 'the demo runs on a host of the pool, as somebody who may use its engine: sudo ./xcaas demo',
    });
  }
  return stdout.trim();
}
