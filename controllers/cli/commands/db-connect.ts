import { z } from 'zod';
import { type Client, converse, hasImage, memberHere, quietly } from '#cli/clients.ts';
import { type Command, flag, textArg, textOption } from '#cli/command.ts';
import { dbPath } from '#cli/commands/db-view.ts';
import { AppError } from '#core/errors.ts';
import { VERSION } from '#core/version.ts';

const Url = z.looseObject({
  host: z.string(),
  port: z.number(),
  user: z.string(),
  password: z.string(),
  database: z.string(),
  network: z.string(),
  published: z.array(z.object({ host: z.string(), hostPort: z.number() })),
});
type Url = z.infer<typeof Url>;

export const dbConnectCommands: readonly Command[] = [
  {
    path: ['db', 'connect'],
    summary: 'open an SQL client; what comes on standard input is executed',
    args: ['<name>'],
    options: [
      { flags: '-e, --execute <sql>', about: 'execute this and end' },
      { flags: '--replica', about: 'to the slave, for reading' },
      { flags: '--user <user>', about: 'as another user than its own' },
    ],
    async run({ api }, input) {
      const name = textArg(input, 0);
      const user = textOption(input, 'user');
      const query = new URLSearchParams({ replica: String(flag(input, 'replica')), ...(user === undefined ? {} : { user }) });
      const url = Url.parse(await api.get(dbPath(name, `/url?${query}`)));
      const sql = textOption(input, 'execute');
      const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true && sql === undefined;
      const found = await findClient(name, url, { terminal });
      const rest = sql === undefined ? [] : [`--execute=${sql}`];
      const code = await converse({ ...found, args: [...found.args, ...rest] }, { MYSQL_PWD: url.password });
      if (code !== 0) throw new AppError('engine', `the client ended with ${code}`);
    },
  },
];

/** A member of this host has a client in it; else a container of its image on the same network; else what is installed here, through a published port. */
async function findClient(name: string, url: Url, { terminal }: { terminal: boolean }): Promise<Client> {
  const docker = ['-i', ...(terminal ? ['-t'] : []), '-e', 'MYSQL_PWD'];
  const member = await memberHere('db', name);
  if (member !== undefined) {
    return {
      file: 'docker',
      args: ['exec', ...docker, member, 'mariadb', ...clientArgs(url, '127.0.0.1', url.port), '--ssl-ca=/run/secrets/ca.pem'],
    };
  }
  const image = `xcaas/xdb:${VERSION}`;
  if (await hasImage(image)) {
    const container = ['run', '--rm', ...docker, '--network', url.network, '--entrypoint', 'mariadb', image];
    return { file: 'docker', args: [...container, ...clientArgs(url, url.host, url.port), '--skip-ssl-verify-server-cert'] };
  }
  const [at] = url.published;
  for (const file of ['mariadb', 'mysql']) {
    if (at === undefined || (await quietly(file, ['--version'])) === '') continue;
    return { file, args: clientArgs(url, at.host, at.hostPort) };
  }
  throw new AppError('not_found', `this host has no SQL client that could reach ${name}`, {
    hint: `run it on a host of the pool, or use db url ${name} with a client of your own on the network ${url.network}`,
  });
}

export function clientArgs({ user, database }: Pick<Url, 'user' | 'database'>, host: string, port: number): string[] {
  return ['--protocol=TCP', `--host=${host}`, `--port=${port}`, `--user=${user}`, `--database=${database}`];
}
