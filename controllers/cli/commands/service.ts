import { z } from 'zod';
import { type Command, type Context, flag, textArg, textOption } from '#cli/command.ts';
import { wholeNumber } from '#cli/labels.ts';

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
