import { z } from 'zod';
import { type Command, flag, textArg } from '#cli/command.ts';
import { pathOf, Sentence, type ServiceKind } from '#cli/commands/service.ts';

/** Verbs of users that are the same for databases and caches. */

export const Secret = z.looseObject({ name: z.string(), password: z.string() });

export function userCommands(service: ServiceKind): Command[] {
  const at = (name: string, user: string) => pathOf(service, name, `/users/${encodeURIComponent(user)}`);
  return [
    {
      path: [service.kind, 'user', 'rotate'],
      summary: 'give a user a new password; the old one stays good until --finish',
      args: ['<name>', '<user>'],
      options: [{ flags: '--finish', about: 'end the old password' }],
      changes: true,
      async run({ api, out }, input) {
        const path = at(textArg(input, 0), textArg(input, 1));
        if (flag(input, 'finish')) {
          const done = Sentence.parse(await api.post(`${path}/finish`));
          out.result(done, () => done.sentence);
          return;
        }
        const made = Secret.parse(await api.post(`${path}/rotate`));
        out.result(made, () => made.password);
      },
    },
    {
      path: [service.kind, 'user', 'drop'],
      summary: 'remove a user',
      args: ['<name>', '<user>'],
      changes: true,
      async run({ api, out }, input) {
        const done = Sentence.parse(await api.delete(at(textArg(input, 0), textArg(input, 1))));
        out.result(done, () => done.sentence);
      },
    },
  ];
}
