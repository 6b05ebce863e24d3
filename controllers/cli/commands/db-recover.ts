import { z } from 'zod';
import { type Command, listOption, textArg } from '#cli/command.ts';
import { dbPath, showWhenSettled } from '#cli/commands/db-view.ts';
import { Sentence } from '#cli/commands/service.ts';
import { table } from '#cli/output.ts';
import { AppError } from '#core/errors.ts';

const Recovery = z.looseObject({
  record: z.object({ epoch: z.number(), rev: z.number(), leader: z.string() }).nullable(),
  members: z.array(
    z.looseObject({
      id: z.string(),
      answers: z.boolean(),
      problem: z.string().optional(),
      epoch: z.number().optional(),
      rev: z.number().optional(),
      hasData: z.boolean().optional(),
      leader: z.string().optional(),
      sync: z.string().nullable().optional(),
    }),
  ),
  next: z.looseObject({ leader: z.object({ id: z.string() }) }).nullable(),
  refused: z.object({ message: z.string(), hint: z.string().optional() }).nullable(),
});
type Recovery = z.infer<typeof Recovery>;

/** K1 of the protocol (docs/xdb-protocol.md), for an operator. */
export const dbRecoverCommand: Command = {
  path: ['db', 'recover'],
  summary: 'write the record anew of who leads, when Consul has lost it or has an older one; from what the members remember',
  args: ['<name>'],
  options: [
    { flags: '--lost <member>', about: 'a member that is gone for good: what it alone knew is lost', repeat: true },
    { flags: '--yes', about: 'do not ask' },
  ],
  changes: true,
  async run(context, input) {
    const name = textArg(input, 0);
    const lost = listOption(input, 'lost');
    const query = lost.map((member) => `lost=${encodeURIComponent(member)}`).join('&');
    const seen = Recovery.parse(await context.api.get(dbPath(name, `/recovery${query === '' ? '' : `?${query}`}`)));
    context.out.note(describe(seen));
    if (seen.refused !== null || seen.next === null) {
      const { message, hint } = seen.refused ?? { message: `nothing of ${name} is to be written anew` };
      throw new AppError('conflict', message, hint === undefined ? {} : { hint });
    }
    const without = lost.length === 0 ? '' : ` without ${lost.join(' and ')}: writes that nobody else has are lost`;
    await context.confirm(`Let ${seen.next.leader.id} lead ${name}${without}?`);
    const done = Sentence.parse(await context.api.post(dbPath(name, '/recovery'), { lost }));
    context.out.note(done.sentence);
    const isOpen = ({ status }: { status: string }) => status === 'READY' || status === 'DEGRADED';
    await showWhenSettled(context, name, { settled: isOpen });
  },
};

function describe({ record, members }: Recovery): string {
  const inConsul =
    record === null
      ? 'Consul has no record'
      : `the record in Consul: epoch ${record.epoch}, revision ${record.rev}, ${record.leader} leads`;
  const rows = members.map((m) =>
    m.answers
      ? [m.id, String(m.epoch), String(m.rev), m.leader ?? 'not remembered', m.sync ?? '', m.hasData ? 'yes' : 'no']
      : [m.id, '?', '?', m.problem ?? 'does not answer', '', '?'],
  );
  return `${inConsul}\n${table(['MEMBER', 'EPOCH', 'REVISION', 'LEADER', 'SYNC', 'DATA'], rows)}`;
}
