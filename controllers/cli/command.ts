import type { ApiClient } from '#cli/api-client.ts';
import type { Output } from '#cli/output.ts';

/** Commands are data: the parser, the help, the completion and the docs are made from the same table. */
export interface Command {
  /** Words before the arguments, e.g. `['lb', 'create']`. */
  path: readonly string[];
  summary: string;
  /** `<name>` required, `[name]` optional, `[name...]` any number. */
  args?: readonly string[];
  options?: readonly Option[];
  /** True when it changes something: it takes `--wait` and `--no-wait`. */
  changes?: boolean;
  /** True when it takes any options without looking at them. */
  loose?: boolean;
  run(context: Context, input: Input): Promise<void>;
}

export interface Option {
  /** commander's notation: `-d, --driver <kind>`, `--yes`, `--listen <proto:port>`. */
  flags: string;
  about: string;
  /** May be given several times; its value is then an array. */
  repeat?: boolean;
  default?: string | number | boolean;
}

export interface Input {
  args: (string | string[] | undefined)[];
  options: Record<string, unknown>;
}

export interface Context {
  api: ApiClient;
  out: Output;
  /** True unless `--no-wait`. */
  wait: boolean;
  /** Milliseconds for the command's waiting, and the most that any of its calls may take. */
  timeoutMs: number;
  /** Asks on a terminal; `--yes` answers. @throws AppError `usage` where nobody can be asked */
  confirm(question: string): Promise<void>;
  /** To be called by a status verb with the status it shows: DEGRADED ends with 6, DOWN and FAILED with 1. */
  health(status: string): void;
}

export function textArg(input: Input, index: number): string {
  const value = input.args[index];
  return typeof value === 'string' ? value : '';
}

export function listArg(input: Input, index: number): string[] {
  const value = input.args[index];
  return Array.isArray(value) ? value : value === undefined ? [] : [value];
}

export function textOption(input: Input, name: string): string | undefined {
  const value = input.options[name];
  return typeof value === 'string' ? value : undefined;
}

export function listOption(input: Input, name: string): string[] {
  const value = input.options[name];
  return Array.isArray(value) ? value.map(String) : [];
}

export function flag(input: Input, name: string): boolean {
  return input.options[name] === true;
}
