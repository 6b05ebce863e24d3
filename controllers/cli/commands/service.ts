import { z } from 'zod';
import { type Command, type Context, flag, type Input, textArg, textOption } from '#cli/command.ts';
import { wholeNumber } from '#cli/labels.ts';
import { table } from '#cli/output.ts';
import { parseSeconds } from '#cli/sizes.ts';
import { waitGone, waitReady } from '#cli/waiting.ts';
import { AppError } from '#core/errors.ts';

/** Verbs that are the same for every kind of service. */

export interface ServiceKind {
  /** First word of its verbs, and of its objects: `db`. */
  kind: string;
  /** Its place in the API: `/v1/dbs`. */
  path: string;
}

/** What a change answers that says how it went. */
export const Sentence = z.looseObject({ sentence: z.string() });

const Event = z.looseObject({ time: z.string(), object: z.string(), kind: z.string(), reason: z.string(), sentence: z.string() });
const MemberLog = z.object({ member: z.string(), lines: z.array(z.string()) });

export const pathOf = ({ path }: ServiceKind, name: string, rest = '') => `${path}/${encodeURIComponent(name)}${rest}`;

/** @param view throws `not_found` when there is none of that name */
export function eventsCommand({ kind }: ServiceKind, view: (context: Context, name: string) => Promise<unknown>): Command {
  return {
    path: [kind, 'events'],
    summary: 'what happened to it, newest last',
    args: ['<name>'],
    options: [{ flags: '--follow', about: 'go on as they happen' }],
    async run(context, input) {
      const { api, out } = context;
      const name = textArg(input, 0);
      const object = encodeURIComponent(`${kind}/${name}`);
      const text = (event: z.infer<typeof Event>) => `${event.time}  ${event.kind}  ${event.reason}  ${event.sentence}`;
      if (flag(input, 'follow')) {
        await api.lines('GET', `/v1/events?follow=true&object=${object}`, undefined, (value) => {
          const event = Event.parse(value);
          out.line(event, text(event));
        });
        return;
      }
      const events = z.array(Event).parse(await api.get(`/v1/events?object=${object}`));
      // What was destroyed has events still; what never was is said so.
      if (events.length === 0) await view(context, name);
      out.result(events, () => events.map(text).join('\n'));
    },
  };
}

export function logsCommand(service: ServiceKind): Command {
  return {
    path: [service.kind, 'logs'],
    summary: 'the latest lines of its members',
    args: ['<name>'],
    options: [{ flags: '--lines <n>', about: 'lines of each member', default: '100' }],
    async run({ api, out }, input) {
      const lines = wholeNumber(textOption(input, 'lines'), '--lines');
      const logs = z.array(MemberLog).parse(await api.get(pathOf(service, textArg(input, 0), `/logs?lines=${lines}`)));
      out.result(logs, () => logs.flatMap((log) => log.lines.map((line) => `${log.member} | ${line}`)).join('\n'));
    },
  };
}

/** `-d` names it too, when nothing else does. @param driver what `-d` may say that is no name */
export function nameOf(input: Input, hint: string, driver?: string): string {
  const [word, option, definition] = [textArg(input, 0), textOption(input, 'name'), textOption(input, 'definition')];
  if (word !== '' && option !== undefined && option !== word)
    throw new AppError('usage', `it cannot be called both ${word} and ${option}`, { hint: 'leave --name away' });
  const name = word !== '' ? word : (option ?? (definition === driver ? undefined : definition));
  if (name === undefined) throw new AppError('usage', 'it has no name', { hint });
  return name;
}

interface DestroyWords<View> {
  view(context: Context, name: string): Promise<View & { sentence: string }>;
  /** Asked before; of one that was destroyed already nothing can be seen but its name. */
  question(view: View | { name: string; members: [] }, purge: boolean): string;
}

export function destroyCommand<View extends { name: string }>(
  service: ServiceKind,
  summary: string,
  { view, question }: DestroyWords<View>,
): Command {
  /** Of one that was destroyed already only the data are left: to be purged, it need not be seen. */
  const look = async (context: Context, name: string, purge: boolean): Promise<View | { name: string; members: [] }> => {
    try {
      return await view(context, name);
    } catch (error) {
      const kept = error instanceof AppError && error.code === 'not_found' && /was destroyed/.test(error.message);
      if (purge && kept) return { name, members: [] };
      throw error;
    }
  };
  return {
    path: [service.kind, 'destroy'],
    summary,
    args: ['<name>'],
    options: [
      { flags: '--yes', about: 'do not ask' },
      { flags: '--keep-data', about: 'keep its data until they are purged' },
      { flags: '--purge', about: 'remove its data too, at once; for good' },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const [keepData, purge] = [flag(input, 'keepData'), flag(input, 'purge')];
      await context.confirm(question(await look(context, name, purge), purge));
      const { sentence } = Sentence.parse(await context.api.delete(pathOf(service, name, `?keepData=${keepData}&purge=${purge}`)));
      if (context.wait) await waitGone(context, name, () => view(context, name));
      context.out.result({ name, destroyed: true, purged: purge, sentence }, () =>
        purge && context.wait ? `${name} is removed` : sentence,
      );
    },
  };
}

/** An order that changes the master. */
export const Order = z.looseObject({ id: z.string(), state: z.string(), at: z.string().optional(), blockedMs: z.number().optional() });
const Progress = Order.extend({ sentence: z.string() });

/** Follows an order to its end. @throws AppError `conflict` with the reason when it was not carried out */
export async function followMove(context: Context, service: ServiceKind, name: string, order: z.infer<typeof Order>): Promise<void> {
  if (order.at !== undefined || !context.wait) {
    const sentence = order.at === undefined ? `the order is given (${order.id})` : `${name} is to change its master at ${order.at}`;
    context.out.result({ ...order, sentence }, () => sentence);
    return;
  }
  let last: z.infer<typeof Progress> | undefined;
  await waitReady(context, name, async () => {
    last = Progress.parse(await context.api.get(pathOf(service, name, `/moves/${encodeURIComponent(order.id)}`)));
    return { status: last.state === 'done' || last.state === 'failed' ? 'READY' : 'PENDING', sentence: last.sentence };
  });
  const done = last;
  if (done === undefined || done.state === 'failed')
    throw new AppError('conflict', done?.sentence ?? `${name} did not change its master`, { hint: `${service.kind} topology ${name}` });
  context.out.result(done, () => done.sentence);
}

const Parameter = z.looseObject({
  name: z.string(),
  value: z.string(),
  default: z.string(),
  changed: z.boolean(),
  takes: z.string(),
  restart: z.boolean(),
  about: z.string(),
});

export function parameterListCommand(service: ServiceKind): Command {
  return {
    path: [service.kind, 'param', 'list'],
    summary: 'parameters of the engine that can be set',
    args: ['<name>'],
    options: [{ flags: '--changed', about: 'only those that differ from the default' }],
    async run({ api, out }, input) {
      const all = z.array(Parameter).parse(await api.get(pathOf(service, textArg(input, 0), '/parameters')));
      const shown = flag(input, 'changed') ? all.filter(({ changed }) => changed) : all;
      out.result(shown, () =>
        table(
          ['NAME', 'VALUE', 'DEFAULT', 'TAKES', 'RESTART', 'ABOUT'],
          shown.map((p) => [p.name, p.value, p.default, p.takes, p.restart ? 'yes' : 'no', p.about]),
        ),
      );
    },
  };
}

/** @param show once it goes on */
export function pauseCommands(service: ServiceKind, show: (context: Context, name: string) => Promise<void>): Command[] {
  return [
    {
      path: [service.kind, 'pause'],
      summary: 'let failover and maintenance rest for a while; acknowledged writes stay protected',
      args: ['<name>'],
      options: [{ flags: '--for <time>', about: 'how long: 30m, 2h, 1d', default: '1h' }],
      changes: true,
      async run({ api, out }, input) {
        const seconds = parseSeconds(textOption(input, 'for') ?? '', '--for');
        const paused = Sentence.parse(await api.post(pathOf(service, textArg(input, 0), '/pause'), { seconds }));
        out.result(paused, () => paused.sentence);
      },
    },
    {
      path: [service.kind, 'resume'],
      summary: 'end a pause',
      args: ['<name>'],
      changes: true,
      async run(context, input) {
        const name = textArg(input, 0);
        await context.api.post(pathOf(service, name, '/resume'));
        await show(context, name);
      },
    },
  ];
}
