import { Command as Parser, Option as ParserOption } from 'commander';
import type { Command, Context, Input } from '#cli/command.ts';
import { VERSION } from '#core/version.ts';

export interface GlobalOptions {
  json: boolean;
  timeoutMs: number;
  wait: boolean;
  yes: boolean;
}

/** Seconds a command waits at most when `--timeout` is not given. */
const DEFAULT_TIMEOUT_SECONDS = 300;

/**
 * A commander program for a table of commands.
 *
 * @param prefix words that the program's own name stands for: `lb` is `xcaas lb`
 * @param act runs a command with what was parsed
 * @param write where help goes, and where what is wrong with a command line goes
 */
export function buildParser(
  name: string,
  prefix: readonly string[],
  commands: readonly Command[],
  act: (command: Command, options: GlobalOptions, run: (context: Context) => Promise<void>) => Promise<void>,
  write: { out(text: string): void; err(text: string): void },
): Parser {
  const root = new Parser(name)
    .exitOverride()
    .configureOutput({ writeOut: write.out, writeErr: write.err })
    .helpCommand(false)
    .version(VERSION, '--version', 'version of this program');
  for (const command of commands) {
    if (!prefix.every((word, index) => command.path[index] === word)) continue;
    const words = command.path.slice(prefix.length);
    const parent = words.slice(0, -1).reduce((group, word) => childGroup(group, word), root);
    const leaf = addLeaf(parent, words.at(-1) ?? name, command);
    leaf.action(async (...received: unknown[]) => {
      const options = leaf.opts() as Record<string, unknown>;
      const args = received.slice(0, command.args?.length ?? 0) as Input['args'];
      const global: GlobalOptions = {
        json: options.json === true,
        timeoutMs: Number(options.timeout ?? DEFAULT_TIMEOUT_SECONDS) * 1000,
        wait: options.wait !== false,
        yes: options.yes === true,
      };
      await act(command, global, (context) => command.run(context, { args, options }));
    });
  }
  return root;
}

function childGroup(parent: Parser, word: string): Parser {
  return parent.commands.find((child) => child.name() === word) ?? parent.command(word).helpCommand(false);
}

function addLeaf(parent: Parser, word: string, command: Command): Parser {
  const leaf = parent.command(word).description(command.summary);
  if (command.loose) leaf.allowUnknownOption();
  for (const arg of command.args ?? []) leaf.argument(arg);
  for (const option of command.options ?? []) {
    const made = new ParserOption(option.flags, option.about);
    if (option.default !== undefined) made.default(option.default);
    if (option.repeat) made.argParser((value: string, previous: string[] | undefined) => [...(previous ?? []), value]);
    leaf.addOption(made);
  }
  leaf.option('--json', 'one JSON value on stdout');
  leaf.option('--timeout <seconds>', `how long to wait at most (${DEFAULT_TIMEOUT_SECONDS})`);
  if (command.changes) leaf.option('--wait', 'wait until it is done (default)').option('--no-wait', 'return as soon as it is accepted');
  return leaf;
}
