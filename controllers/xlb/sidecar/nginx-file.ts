import { NginxConfFile } from 'nginx-conf';
import { AppError } from '#core/errors.ts';

/**
 * A thin layer over the package nginx-conf, which escapes nothing and prints directives grouped by name. Only this file writes through it:
 * every argument is either {@link fixed} text of our own code or has passed a whitelist in which no character means anything to nginx.
 */

declare const checked: unique symbol;
/** Text that may stand in the file as it is. */
export type Safe = string & { readonly [checked]: true };

export interface Directive {
  name: string;
  args: readonly Safe[];
  block?: readonly Directive[];
}

/** Text of our own code. Never call it with anything that came from outside. */
export function fixed(text: string): Safe {
  return text as Safe;
}

/** Kinds of values of a specification, each a whitelist in which no character means anything to nginx at the place it is written to. */
const WORDS = { host: /^(\*\.)?[a-z0-9][a-z0-9.-]{0,252}$/, path: /^\/[A-Za-z0-9._~/-]{0,511}$/, name: /^[a-z0-9][a-z0-9-]{0,63}$/ };

/**
 * A value of the specification. The schema has refused bad ones before; this is the second door.
 *
 * @throws AppError `config_rejected` when it is not of its kind's form
 */
export function word(kind: keyof typeof WORDS, text: string): Safe {
  if (!WORDS[kind].test(text)) {
    throw new AppError('config_rejected', `a ${kind} cannot be written into nginx's configuration: ${JSON.stringify(text.slice(0, 80))}`);
  }
  return text as Safe;
}

/** @throws AppError `config_rejected` for anything but a whole number from 0 on */
export function number(value: number, what: string, unit: '' | 'ms' = ''): Safe {
  if (!Number.isSafeInteger(value) || value < 0) throw new AppError('config_rejected', `${what} is not a whole number: ${value}`);
  return `${value}${unit}` as Safe;
}

export function line(name: string, ...args: readonly Safe[]): Directive {
  return { name, args };
}

export function block(name: string, args: readonly Safe[], ...directives: readonly (Directive | readonly Directive[])[]): Directive {
  return { name, args, block: directives.flat() };
}

export function print(directives: readonly Directive[]): string {
  const file = new NginxConfFile(
    { name: 'root', value: '', children: null, comments: [], isBlock: false, isVerbatim: false, parent: null } as never,
    {
      tab: '  ',
    },
  );
  for (const directive of directives) add(file.nginx, directive);
  // The package indents the outermost level by one.
  return file.toString();
}

type Item = NginxConfFile['nginx'];

function add(parent: Item, { name, args, block: children }: Directive): void {
  parent._add(name, args.join(' '), children === undefined ? null : []);
  if (children === undefined) return;
  const added = parent[name]?.at(-1);
  for (const child of children) add(added as Item, child);
}
