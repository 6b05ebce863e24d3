import { z } from 'zod';
import { type Command, type Context, flag, listArg, textArg, textOption } from '#cli/command.ts';
import { CACHE, type CacheView, cachePath, showWhenSettled, viewCache, waitSettled } from '#cli/commands/cache-view.ts';
import { followMove, Order, parameterListCommand, pauseCommands, Sentence } from '#cli/commands/service.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { parseCpus, parseSize } from '#cli/sizes.ts';
import { sleep } from '#core/sleep.ts';

const Failover = Sentence.extend({ epoch: z.number(), master: z.string() });

/** Milliseconds in which a member has begun what it was asked for. */
const BEGUN_MS = 1500;

export const cacheChangeCommands: readonly Command[] = [
  {
    path: ['cache', 'switchover'],
    summary: 'let a replica lead, as planned; nothing is lost',
    args: ['<name>'],
    options: [{ flags: '--to <member>', about: 'the member that is to lead' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const order = Order.parse(await context.api.post(cachePath(name, '/switchover'), { to: textOption(input, 'to') }));
      await followMove(context, CACHE, name, order);
    },
  },
  {
    path: ['cache', 'failover'],
    summary: 'end the master at once, so that a replica takes over; what was not sent yet is lost (milliseconds)',
    args: ['<name>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewCache(context, name);
      await context.confirm(`End ${before.master ?? 'the master'} of ${name} at once?`);
      const { epoch } = Failover.parse(await context.api.post(cachePath(name, '/failover')));
      await showWhenSettled(context, name, { before, settled: (cache) => cache.epoch > epoch && cache.master !== null });
    },
  },
  {
    path: ['cache', 'restart'],
    summary: 'restart one member, or all, one after another, with the master handing over',
    args: ['<name>', '[member]'],
    options: [{ flags: '--force', about: 'also one that has nothing when it is back: a single member that keeps nothing on disk' }],
    changes: true,
    async run(context, input) {
      const [name, member] = [textArg(input, 0), textArg(input, 1) || undefined];
      const before = await viewCache(context, name);
      const done = Sentence.parse(await context.api.post(cachePath(name, '/restart'), { member, force: flag(input, 'force') }, 90_000));
      if (context.wait && member !== undefined) await sleep(BEGUN_MS);
      if (context.wait) await waitSettled(context, name, { before });
      context.out.result({ name, ...done }, () => done.sentence);
    },
  },
  {
    path: ['cache', 'scale'],
    summary: 'other numbers or sizes: members are added, taken away or made anew one after another',
    args: ['<name>'],
    options: [
      { flags: '--replicas <n>', about: 'replicas of each master' },
      { flags: '--shards <n>', about: 'masters of a cluster' },
      { flags: '--memory <size>', about: 'memory of each member, a plain number is GiB' },
      { flags: '--cpu <cpus>', about: 'CPUs of each member' },
      { flags: '--disk <size>', about: 'disk of each member, a plain number is GiB' },
      { flags: '--force', about: 'also one that is empty afterwards: a single member that keeps nothing on disk' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewCache(context, name);
      await context.api.patch(cachePath(name), {
        replicas: wholeNumber(textOption(input, 'replicas'), '--replicas'),
        shards: wholeNumber(textOption(input, 'shards'), '--shards'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
        force: flag(input, 'force') || undefined,
      });
      await showWhenSettled(context, name, { before, settled: hasNumbers });
    },
  },
  {
    path: ['cache', 'set'],
    summary: 'change what --opt of create sets: maxmemory-policy, min-replicas, persistence, replace-after, autoscale, max-shards',
    args: ['<name>', '<key=value...>'],
    changes: true,
    run: (context, input) => setPairs(context, textArg(input, 0), '/options', listArg(input, 1)),
  },
  parameterListCommand(CACHE),
  {
    path: ['cache', 'param', 'set'],
    summary: 'change settings of the engine; NAME= gives one back its default',
    args: ['<name>', '<key=value...>'],
    changes: true,
    run: (context, input) => setPairs(context, textArg(input, 0), '/parameters', listArg(input, 1)),
  },
  {
    path: ['cache', 'upgrade'],
    summary: 'another image for every member, one after another, with the master handing over',
    args: ['<name>'],
    options: [
      { flags: '--image <image>', about: 'its name or id; the one it was made with, as that name means it now, if not given' },
      { flags: '--force', about: 'also where keys may be lost by a restart, or the image does not say which engines it has' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewCache(context, name);
      const body = { image: textOption(input, 'image'), force: flag(input, 'force') || undefined };
      const done = Sentence.parse(await context.api.post(cachePath(name, '/upgrade'), body));
      context.out.note(done.sentence);
      await showWhenSettled(context, name, { before });
    },
  },
  ...pauseCommands(CACHE, (context, name) => showWhenSettled(context, name)),
];

async function setPairs(context: Context, name: string, rest: string, pairs: string[]): Promise<void> {
  const before = await viewCache(context, name);
  const done = Sentence.parse(await context.api.patch(cachePath(name, rest), { set: { ...parsePairs(pairs) } }));
  if (context.wait) await waitSettled(context, name, { before });
  context.out.result({ name, ...done }, () => done.sentence);
}

/** As many members as it was asked for; one that moves slots is at it still. */
function hasNumbers({ members, shards, replicas, cluster }: CacheView): boolean {
  return members.length === shards * (1 + replicas) && (cluster === undefined || cluster.progress === null);
}
