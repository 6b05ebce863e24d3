import process from 'node:process';
import { z } from 'zod';
import { type Client, converse, hasImage, memberHere, quietly } from '#cli/clients.ts';
import { type Command, flag, listArg, textArg, textOption } from '#cli/command.ts';
import { cachePath } from '#cli/commands/cache-view.ts';
import { AppError } from '#core/errors.ts';
import { VERSION } from '#core/version.ts';

const Url = z.looseObject({
  host: z.string(),
  port: z.number(),
  user: z.string(),
  password: z.string(),
  network: z.string(),
  tls: z.boolean(),
  mode: z.string(),
  published: z.array(z.object({ host: z.string(), hostPort: z.number() })),
});
type Url = z.infer<typeof Url>;

/** Port of the endpoint that leads to a replica. */
const REPLICA_PORT = 6380;

export const cacheConnectCommands: readonly Command[] = [
  {
    path: ['cache', 'connect'],
    summary: 'open a client (valkey-cli); commands may follow the name, or come on standard input',
    args: ['<name>', '[command...]'],
    options: [
      { flags: '--replica', about: 'to a replica, for reading' },
      { flags: '--user <user>', about: 'as another user than its own' },
    ],
    async run({ api }, input) {
      const name = textArg(input, 0);
      const user = textOption(input, 'user');
      const query = user === undefined ? '' : `?${new URLSearchParams({ user })}`;
      const url = Url.parse(await api.get(cachePath(name, `/url${query}`)));
      const words = listArg(input, 1);
      const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true && words.length === 0;
      const found = await findClient(name, { ...url, port: flag(input, 'replica') ? REPLICA_PORT : url.port }, { terminal });
      const code = await converse({ ...found, args: [...found.args, ...words] }, { REDISCLI_AUTH: url.password });
      if (code !== 0) throw new AppError('engine', `the client ended with ${code}`);
    },
  },
];

/** A member of this host has a client in it; else a container of its image on the same network; else what is installed here, through a published port. */
async function findClient(name: string, url: Url, { terminal }: { terminal: boolean }): Promise<Client> {
  const docker = ['-i', ...(terminal ? ['-t'] : []), '-e', 'REDISCLI_AUTH'];
  const member = await memberHere('cache', name);
  // The name leads to whichever member; the certificate is good for it.
  if (member !== undefined)
    return { file: 'docker', args: ['exec', ...docker, member, 'valkey-cli', ...clientArgs(url, url.host, url.port), ...tlsArgs(url)] };
  const image = `xcaas/xcache:${VERSION}`;
  if (await hasImage(image)) {
    const container = ['run', '--rm', ...docker, '--network', url.network, '--entrypoint', 'valkey-cli', image];
    return { file: 'docker', args: [...container, ...clientArgs(url, url.host, url.port), ...(url.tls ? ['--tls', '--insecure'] : [])] };
  }
  const [at] = url.published;
  for (const file of ['valkey-cli', 'redis-cli']) {
    if (at === undefined || (await quietly(file, ['--version'])) === '') continue;
    return { file, args: [...clientArgs(url, at.host, at.hostPort), ...(url.tls ? ['--tls', '--insecure'] : [])] };
  }
  throw new AppError('not_found', `this host has no client that could reach ${name}`, {
    hint: `run it on a host of the pool, or use cache url ${name} with a client of your own on the network ${url.network}`,
  });
}

export function clientArgs({ user, mode }: Pick<Url, 'user' | 'mode'>, host: string, port: number): string[] {
  return ['-h', host, '-p', String(port), '--user', user, '--no-auth-warning', ...(mode === 'cluster' ? ['-c'] : [])];
}

function tlsArgs({ tls }: Pick<Url, 'tls'>): string[] {
  return tls ? ['--tls', '--cacert', '/run/secrets/ca.pem'] : [];
}
