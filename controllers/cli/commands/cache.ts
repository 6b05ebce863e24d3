import { z } from 'zod';
import { type Command, type Context, type Input, listOption, textArg, textOption } from '#cli/command.ts';
import { CACHE, CacheView, cachePath, describeCache, drawTopology, showWhenSettled, viewCache } from '#cli/commands/cache-view.ts';
import { destroyCommand, eventsCommand, logsCommand, nameOf } from '#cli/commands/service.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { table } from '#cli/output.ts';
import { parseCpus, parseSize } from '#cli/sizes.ts';
import { AppError } from '#core/errors.ts';

const Url = z.looseObject({ url: z.string(), urls: z.record(z.string(), z.string()) });
const Listed = CacheView.pick({ name: true, status: true, sentence: true, engine: true, mode: true, master: true, epoch: true });

export const cacheCommands: readonly Command[] = [
  {
    path: ['cache', 'create'],
    summary: 'make a cache: a master and a replica in two fault groups',
    args: ['[name]'],
    options: [
      { flags: '-d, --definition <name>', about: 'what it is (xcache); its name too, when no other is given' },
      { flags: '--name <name>', about: 'its name' },
      { flags: '--mode <mode>', about: 'replicated (default), standalone or cluster' },
      { flags: '--shards <n>', about: 'masters of a cluster (default 3)' },
      { flags: '--replicas <n>', about: 'replicas of each master (default 1)' },
      { flags: '--cpu <cpus>', about: 'CPUs of each member; whole ones are bound to it (default 0: not bound)' },
      { flags: '--memory <size>', about: 'memory of each member, a plain number is GiB (default 1); data get about two thirds of it' },
      { flags: '--disk <size>', about: 'disk of each member, a plain number is GiB' },
      { flags: '--image <image>', about: 'an xCache appliance in place of the built-in one' },
      {
        flags: '--opt <key=value>',
        about:
          'engine=valkey|redis, persistence=none|rdb|aof, maxmemory-policy=POLICY, min-replicas=N, tls=on, autoscale=on with max-shards=N, param.NAME=VALUE, replace-after=SECONDS, or a label of hosts',
        repeat: true,
      },
      { flags: '--network <net>', about: 'the attachable overlay its clients are on', default: 'xcaas' },
      {
        flags: '--publish <port>',
        about: 'a port of each host a member lives on: PORT for the master, PORT:6380 for a replica',
        repeat: true,
      },
    ],
    changes: true,
    async run(context, input) {
      const name = nameOf(input, 'cache create -d acache, or cache create NAME', 'xcache');
      await context.api.post(CACHE.path, {
        name,
        mode: modeOf(input),
        shards: wholeNumber(textOption(input, 'shards'), '--shards'),
        replicas: wholeNumber(textOption(input, 'replicas'), '--replicas'),
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
        image: textOption(input, 'image'),
        options: { ...parsePairs(listOption(input, 'opt')) },
        network: textOption(input, 'network'),
        publish: listOption(input, 'publish'),
      });
      await showWhenSettled(context, name);
    },
  },
  {
    path: ['cache', 'list'],
    summary: 'all caches',
    async run({ api, out }) {
      const caches = z.array(Listed).parse(await api.get(CACHE.path));
      out.result(caches, () =>
        table(
          ['NAME', 'STATUS', 'MODE', 'ENGINE', 'MASTER', 'EPOCH', 'SENTENCE'],
          caches.map((cache) => [cache.name, cache.status, cache.mode, cache.engine, cache.master ?? '', cache.epoch, cache.sentence]),
        ),
      );
    },
  },
  {
    path: ['cache', 'status'],
    summary: 'what it is doing now',
    args: ['<name>'],
    run: (context, input) => show(context, input, describeCache),
  },
  {
    path: ['cache', 'topology'],
    summary: 'who follows whom, and what each member does',
    args: ['<name>'],
    run: (context, input) => show(context, input, drawTopology),
  },
  {
    path: ['cache', 'url'],
    summary: 'how a client gets in; the password is in it',
    args: ['<name>'],
    options: [
      { flags: '--client <kind>', about: 'plain (default), sentinel, replica; of a cluster: cluster; all = every one of them' },
      { flags: '--user <user>', about: 'as another user than its own' },
    ],
    async run({ api, out }, input) {
      const user = textOption(input, 'user');
      const query = user === undefined ? '' : `?${new URLSearchParams({ user })}`;
      const url = Url.parse(await api.get(cachePath(textArg(input, 0), `/url${query}`)));
      const kind = textOption(input, 'client');
      const text = kind === undefined ? url.url : url.urls[kind];
      if (text === undefined && kind !== 'all')
        throw new AppError('usage', `it has no address for "${kind}" clients`, {
          hint: `use --client ${[...Object.keys(url.urls), 'all'].join(', ')}`,
        });
      out.result(url, () => text ?? table(['CLIENT', 'URL'], Object.entries(url.urls)));
    },
  },
  eventsCommand(CACHE, viewCache),
  logsCommand(CACHE),
  destroyCommand(CACHE, 'remove a cache; what is on disk is kept for seven days, and cache undestroy brings it back', {
    view: viewCache,
    question: (cache, purge) =>
      purge ? `Remove ${cache.name} with all its data, for good?` : `Remove ${cache.name} with its ${cache.members.length} members?`,
  }),
  {
    path: ['cache', 'undestroy'],
    summary: 'bring a destroyed cache back while it is kept; what was in memory only is gone',
    args: ['<name>'],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      await context.api.post(cachePath(name, '/undestroy'));
      await showWhenSettled(context, name, { before: { status: 'READY' } });
    },
  },
];

async function show(context: Context, input: Input, text: (cache: CacheView) => string): Promise<void> {
  const cache = await viewCache(context, textArg(input, 0));
  context.out.result(cache, () => text(cache));
  context.health(cache.status);
}

function modeOf(input: Input): string | undefined {
  const mode = textOption(input, 'mode');
  if (mode === undefined || ['replicated', 'standalone', 'cluster'].includes(mode)) return mode;
  throw new AppError('usage', `there is no mode "${mode.slice(0, 40)}"`, { hint: 'use --mode replicated, standalone or cluster' });
}
