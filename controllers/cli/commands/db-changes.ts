import { z } from 'zod';
import { type Command, flag, listArg, textArg, textOption } from '#cli/command.ts';
import { DB, type DbView, dbPath, describeDb, masterOf, showWhenSettled, viewDb, waitSettled } from '#cli/commands/db-view.ts';
import { followMove, Order, parameterListCommand, pauseCommands, Sentence } from '#cli/commands/service.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { parseCpus, parseMoment, parseSize } from '#cli/sizes.ts';
import { sleep } from '#core/sleep.ts';

const Replica = Sentence.extend({ member: z.string() });
/** Milliseconds in which a sidecar has begun what it was asked for. */
const BEGUN_MS = 1500;

export const dbChangeCommands: readonly Command[] = [
  {
    path: ['db', 'switchover'],
    summary: 'let the slave lead, as planned; nothing is lost, and it says for how long writes were held',
    args: ['<name>'],
    options: [
      { flags: '--to <member>', about: 'the member that is to lead' },
      { flags: '--at <time>', about: 'not before: 2026-01-31T03:00:00Z, 03:00 (UTC) or +30m' },
      { flags: '--cancel', about: 'call a later one off' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      if (flag(input, 'cancel')) {
        const { sentence } = Sentence.parse(await context.api.delete(dbPath(name, '/moves')));
        context.out.result({ name, cancelled: true, sentence }, () => sentence);
        return;
      }
      const at = parseMoment(textOption(input, 'at'), '--at');
      const order = Order.parse(await context.api.post(dbPath(name, '/switchover'), { to: textOption(input, 'to'), at }));
      await followMove(context, DB, name, order);
    },
  },
  {
    path: ['db', 'failover'],
    summary: 'let the slave take over without asking the master; refused where an acknowledged write would be lost',
    args: ['<name>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const { sync } = await viewDb(context, name);
      await context.confirm(`Let ${sync ?? 'the slave'} take over ${name} now?`);
      await followMove(context, DB, name, Order.parse(await context.api.post(dbPath(name, '/failover'))));
    },
  },
  {
    path: ['db', 'cutover'],
    summary: 'let a slave of another database take writes itself; it has everything its master had, and becomes a pair',
    args: ['<name>'],
    options: [
      { flags: '--master-lost', about: 'the master is gone for good: what was received is all there is' },
      { flags: '--yes', about: 'do not ask' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const masterLost = flag(input, 'masterLost');
      const { follows } = await viewDb(context, name);
      // One that follows nobody is refused before anybody is asked.
      if (follows != null) await context.confirm(`Let ${name} end following ${masterOf(follows)} and take writes itself?`);
      const done = Sentence.extend({ warning: z.string().optional() }).parse(
        await context.api.post(dbPath(name, '/cutover'), { masterLost }),
      );
      if (done.warning !== undefined) context.out.note(done.warning);
      await showWhenSettled(context, name, { settled: asPair() });
    },
  },
  {
    path: ['db', 'replica', 'add'],
    summary: 'one more copy for reading, which never leads and which no commit waits for',
    args: ['<name>'],
    options: [{ flags: '--delayed <seconds>', about: 'keep so far behind the master, against mistakes; clients are not led to it' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewDb(context, name);
      const delayed = textOption(input, 'delayed');
      const delaySeconds = delayed === undefined ? 0 : wholeNumber(delayed, '--delayed');
      const { member } = Replica.parse(await context.api.post(dbPath(name, '/replicas'), { delaySeconds }));
      const settled = ({ members }: DbView) => members.some(({ id, state }) => id === member && state === 'running');
      await showWhenSettled(context, name, { before, settled });
    },
  },
  {
    path: ['db', 'replica', 'remove'],
    summary: 'remove a copy for reading, with its data',
    args: ['<name>', '[member]'],
    changes: true,
    async run(context, input) {
      const [name, member] = [textArg(input, 0), textArg(input, 1) || undefined];
      const query = member === undefined ? '' : `?member=${encodeURIComponent(member)}`;
      const done = Replica.parse(await context.api.delete(dbPath(name, `/replicas${query}`)));
      context.out.result(done, () => done.sentence);
    },
  },
  {
    path: ['db', 'restart'],
    summary: 'restart the engine of a member, or of all: the slave first, the master when it has handed over',
    args: ['<name>', '[member]'],
    changes: true,
    async run(context, input) {
      const [name, member] = [textArg(input, 0), textArg(input, 1) || undefined];
      const before = await viewDb(context, name);
      await context.api.post(dbPath(name, '/restart'), { member });
      if (member !== undefined && context.wait) await sleep(BEGUN_MS);
      await showWhenSettled(context, name, { before });
    },
  },
  {
    path: ['db', 'reinit'],
    summary: 'throw the copy of a slave away and make it anew from the master',
    args: ['<name>', '<member>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run(context, input) {
      const [name, member] = [textArg(input, 0), textArg(input, 1)];
      const before = await viewDb(context, name);
      const generation = before.members.find(({ id }) => id === member)?.generation;
      await context.confirm(`Throw the copy of ${member} away and make it anew?`);
      await context.api.post(dbPath(name, `/members/${encodeURIComponent(member)}/reinit`));
      const isNew = (each: { id: string; generation: string | null; state: string }) =>
        each.id !== member || (each.generation !== generation && each.state === 'running');
      const settled = ({ members }: DbView) => members.every(isNew);
      const db = context.wait ? await waitSettled(context, name, { before, settled }) : await viewDb(context, name);
      context.out.result(db, () => describeDb(db));
    },
  },
  {
    path: ['db', 'resize'],
    summary: 'another size for every member; writes are held for a switchover only',
    args: ['<name>'],
    options: [
      { flags: '--cpu <cpus>', about: 'CPUs of each member; 0 = not bound' },
      { flags: '--memory <size>', about: 'memory of each member, a plain number is GiB' },
      { flags: '--disk <size>', about: 'disk of each member, a plain number is GiB' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewDb(context, name);
      await context.api.post(dbPath(name, '/resize'), {
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
      });
      await showWhenSettled(context, name, { before });
    },
  },
  {
    path: ['db', 'upgrade'],
    summary: 'another image for every member, one after another; writes are held for a switchover only',
    args: ['<name>'],
    options: [{ flags: '--image <image>', about: 'its name or id; the one it was made with, as that name means it now, if not given' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewDb(context, name);
      const done = Sentence.parse(await context.api.post(dbPath(name, '/upgrade'), { image: textOption(input, 'image') }));
      context.out.note(done.sentence);
      await showWhenSettled(context, name, { before });
    },
  },
  ...pauseCommands(DB, (context, name) => showWhenSettled(context, name)),
  parameterListCommand(DB),
  {
    path: ['db', 'param', 'set'],
    summary: 'set parameters; NAME= gives one back its default',
    args: ['<name>', '<key=value...>'],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const before = await viewDb(context, name);
      const answer = await context.api.patch(dbPath(name, '/parameters'), { set: { ...parsePairs(listArg(input, 1)) } });
      const done = Sentence.extend({ restarts: z.array(z.string()) }).parse(answer);
      if (context.wait) await waitSettled(context, name, { before });
      context.out.result(done, () => done.sentence);
    },
  },
];

/** With a slave that holds everything the controller will soon say so; where it does not (both on one host), or where there is no room for a second member, that is the end. */
const SAID_MS = 5000;
function asPair(): (db: DbView) => boolean {
  let since: number | undefined;
  return ({ status, sync, code }) => {
    if (status === 'READY' && sync !== null) return true;
    since = sync === null ? undefined : (since ?? Date.now());
    return code === 'no_host' || (since !== undefined && Date.now() - since >= SAID_MS);
  };
}
