import { z } from 'zod';
import { type Command, flag, listOption, textArg, textOption } from '#cli/command.ts';
import { DB, DbView, dbPath, describeDb, drawTopology, showWhenSettled, viewDb } from '#cli/commands/db-view.ts';
import { destroyCommand, eventsCommand, logsCommand, nameOf } from '#cli/commands/service.ts';
import { parsePairs } from '#cli/labels.ts';
import { table } from '#cli/output.ts';
import { secretText } from '#cli/secret-text.ts';
import { parseCpus, parseSize } from '#cli/sizes.ts';

const Url = z.looseObject({ url: z.string(), ca: z.string().optional() });
const Listed = DbView.pick({ name: true, status: true, sentence: true, flavor: true, master: true, sync: true, epoch: true });

export const dbCommands: readonly Command[] = [
  {
    path: ['db', 'create'],
    summary: 'make a database: a master and a slave in two fault groups',
    args: ['[name]'],
    options: [
      { flags: '-d, --definition <name>', about: 'what it is; its name too, when no other is given' },
      { flags: '--name <name>', about: 'its name' },
      { flags: '--cpu <cpus>', about: 'CPUs of each member; whole ones are bound to it (default 0: not bound)' },
      { flags: '--memory <size>', about: 'memory of each member, a plain number is GiB (default 1)' },
      { flags: '--disk <size>', about: 'disk of each member, a plain number is GiB (default 10)' },
      { flags: '--image <image>', about: 'an xDB appliance in place of the built-in one' },
      {
        flags: '--opt <key=value>',
        about:
          'role=pair|single|slave, master-url=mysql://USER:PASSWORD@HOST:PORT (or @FILE, or -), master-tls=preferred|required|off, engine=innodb, flavor=mariadb, param.NAME=VALUE, replace-after=SECONDS, or a label of hosts such as storage=ssd',
        repeat: true,
      },
      { flags: '--network <net>', about: 'the attachable overlay its clients are on', default: 'xcaas' },
      {
        flags: '--publish <port>',
        about: 'a port of each host a member lives on: PORT for the master, PORT:3307 for the slave',
        repeat: true,
      },
    ],
    changes: true,
    async run(context, input) {
      const name = nameOf(input, 'db create -d adb, or db create NAME');
      const options = parsePairs(listOption(input, 'opt'));
      if (options['master-url'] !== undefined) options['master-url'] = await secretText(options['master-url']);
      await context.api.post('/v1/dbs', {
        name,
        cpus: parseCpus(textOption(input, 'cpu'), '--cpu'),
        memoryBytes: parseSize(textOption(input, 'memory'), '--memory'),
        diskBytes: parseSize(textOption(input, 'disk'), '--disk'),
        image: textOption(input, 'image'),
        options: { ...options },
        network: textOption(input, 'network'),
        publish: listOption(input, 'publish'),
      });
      await showWhenSettled(context, name);
    },
  },
  {
    path: ['db', 'list'],
    summary: 'all databases',
    async run({ api, out }) {
      const dbs = z.array(Listed).parse(await api.get('/v1/dbs'));
      out.result(dbs, () =>
        table(
          ['NAME', 'STATUS', 'FLAVOR', 'MASTER', 'SYNC', 'EPOCH', 'SENTENCE'],
          dbs.map((db) => [db.name, db.status, db.flavor, db.master ?? '', db.sync ?? '', db.epoch, db.sentence]),
        ),
      );
    },
  },
  {
    path: ['db', 'status'],
    summary: 'what it is doing now',
    args: ['<name>'],
    async run(context, input) {
      const db = await viewDb(context, textArg(input, 0));
      context.out.result(db, () => describeDb(db));
      context.health(db.status);
    },
  },
  {
    path: ['db', 'topology'],
    summary: 'who follows whom, and what each member does',
    args: ['<name>'],
    async run(context, input) {
      const db = await viewDb(context, textArg(input, 0));
      context.out.result(db, () => drawTopology(db));
      context.health(db.status);
    },
  },
  {
    path: ['db', 'url'],
    summary: 'how a client gets in; the password is in it',
    args: ['<name>'],
    options: [
      { flags: '--replica', about: 'to the slave, for reading' },
      { flags: '--user <user>', about: 'as another user than its own' },
    ],
    async run({ api, out }, input) {
      const user = textOption(input, 'user');
      const query = new URLSearchParams({ replica: String(flag(input, 'replica')), ...(user === undefined ? {} : { user }) });
      const url = Url.parse(await api.get(dbPath(textArg(input, 0), `/url?${query}`)));
      out.result(url, () => url.url);
    },
  },
  eventsCommand(DB, viewDb),
  logsCommand(DB),
  destroyCommand(DB, 'remove a database; its data are kept for seven days, and db undestroy brings it back', {
    view: viewDb,
    question(db, purge) {
      const inside = 'backup' in db && db.backup?.store === 'volume' ? db.backup.backups : 0;
      return purge
        ? `Remove ${db.name} with all its data${inside === 0 ? '' : ` and the ${inside} backups on its volumes`}, for good?`
        : `Remove ${db.name} with its ${db.members.length} members? Its data are kept for a while.`;
    },
  }),
  {
    path: ['db', 'undestroy'],
    summary: 'bring a destroyed database back while its data are kept',
    args: ['<name>'],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      await context.api.post(dbPath(name, '/undestroy'));
      await showWhenSettled(context, name, { settled: hasComeUp });
    },
  },
];

/** Its members start one after another. A host that is lost is not waited for. */
function hasComeUp({ members }: DbView): boolean {
  const comes = new Set(['starting', 'catching_up', 'cloning', 'down']);
  return !members.some(({ state }) => comes.has(state));
}
