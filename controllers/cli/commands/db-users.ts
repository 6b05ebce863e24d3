import { z } from 'zod';
import { type Command, listOption, textArg } from '#cli/command.ts';
import { DB, dbPath } from '#cli/commands/db-view.ts';
import { Sentence } from '#cli/commands/service.ts';
import { Secret, userCommands } from '#cli/commands/service-users.ts';
import { bytes, table } from '#cli/output.ts';

const User = z.looseObject({ name: z.string(), databases: z.array(z.string()), own: z.boolean(), rotating: z.boolean() });
const Schema = z.looseObject({ name: z.string(), bytes: z.number(), tables: z.number(), own: z.boolean() });

export const dbUserCommands: readonly Command[] = [
  {
    path: ['db', 'user', 'add'],
    summary: 'make a user and print its password; db url --user shows it again',
    args: ['<name>', '<user>'],
    options: [{ flags: '--database <database>', about: 'a database it may use (default: the one of db url)', repeat: true }],
    changes: true,
    async run({ api, out }, input) {
      const body = { user: textArg(input, 1), databases: listOption(input, 'database') };
      const made = Secret.parse(await api.post(dbPath(textArg(input, 0), '/users'), body));
      out.result(made, () => made.password);
    },
  },
  {
    path: ['db', 'user', 'list'],
    summary: 'its users, without their passwords',
    args: ['<name>'],
    async run({ api, out }, input) {
      const users = z.array(User).parse(await api.get(dbPath(textArg(input, 0), '/users')));
      out.result(users, () =>
        table(
          ['USER', 'DATABASES', 'PASSWORDS'],
          users.map((user) => [
            user.own ? `${user.name} (of the url)` : user.name,
            user.databases.join(' '),
            user.rotating ? 'two, being changed' : 'one',
          ]),
        ),
      );
    },
  },
  ...userCommands(DB),
  {
    path: ['db', 'database', 'add'],
    summary: 'make a further database',
    args: ['<name>', '<database>'],
    changes: true,
    async run({ api, out }, input) {
      const done = Sentence.parse(await api.post(dbPath(textArg(input, 0), '/databases'), { database: textArg(input, 1) }));
      out.result(done, () => done.sentence);
    },
  },
  {
    path: ['db', 'database', 'list'],
    summary: 'its databases with their sizes',
    args: ['<name>'],
    async run({ api, out }, input) {
      const databases = z.array(Schema).parse(await api.get(dbPath(textArg(input, 0), '/databases')));
      out.result(databases, () =>
        table(
          ['DATABASE', 'SIZE', 'TABLES'],
          databases.map((each) => [each.own ? `${each.name} (of the url)` : each.name, bytes(each.bytes), each.tables]),
        ),
      );
    },
  },
  {
    path: ['db', 'database', 'drop'],
    summary: 'remove a database with all that is in it',
    args: ['<name>', '<database>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run({ api, out, confirm }, input) {
      const [name, database] = [textArg(input, 0), textArg(input, 1)];
      await confirm(`Remove the database ${database} of ${name} with all that is in it, for good?`);
      const done = Sentence.parse(await api.delete(dbPath(name, `/databases/${encodeURIComponent(database)}`)));
      out.result(done, () => done.sentence);
    },
  },
];
