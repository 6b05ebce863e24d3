import { basename } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { CommanderError } from 'commander';
import { z } from 'zod';
import { createApiClient } from '#cli/api-client.ts';
import type { Command, Context } from '#cli/command.ts';
import { completionScript } from '#cli/completion.ts';
import { createOutput, type Output } from '#cli/output.ts';
import { buildParser, type GlobalOptions } from '#cli/parser.ts';
import { loadProfile } from '#cli/profile.ts';
import { AppError, toAppError } from '#core/errors.ts';

export interface CliInput {
  /** The name it was called by: `xcaas`, or `db`, `lb`, `cache`, `fs`, which stand for `xcaas db` and so on. */
  name: string;
  argv: string[];
  env: NodeJS.ProcessEnv;
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  commands: readonly Command[];
}

const KINDS = ['db', 'lb', 'cache', 'fs'];

/** @returns the exit code */
export async function runCli(input: CliInput): Promise<number> {
  const { argv, env, stdout, stderr, stdin } = input;
  const name = basename(input.name);
  const prefix = KINDS.includes(name) ? [name] : [];
  let out: Output = createOutput({ json: argv.includes('--json'), stdout, stderr });
  let exit = 0;
  if (argv[0] === 'completion') {
    stdout.write(completionScript(input.commands));
    return 0;
  }

  const act = async (_command: Command, global: GlobalOptions, run: (context: Context) => Promise<void>) => {
    if (!Number.isFinite(global.timeoutMs) || global.timeoutMs <= 0) throw new AppError('usage', '--timeout takes a number of seconds');
    const profile = await loadProfile(env);
    out = createOutput({ json: global.json, stdout, stderr });
    await run({
      api: createApiClient({ ...profile, timeoutMs: global.timeoutMs }),
      out,
      wait: global.wait,
      timeoutMs: global.timeoutMs,
      confirm: (question) => confirm(question, global.yes, stdin, stderr),
      health: (status) => {
        exit = STATUS_EXITS[status] ?? 0;
      },
    });
  };

  let complaint = '';
  const parser = buildParser(prefix[0] ?? 'xcaas', prefix, input.commands, act, {
    out: (text) => stdout.write(text),
    err: (text) => {
      complaint += text;
    },
  });
  // A reader that has seen enough, as in `xcaas events | head`, is no error.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
  });
  try {
    if (argv.length === 0) {
      stdout.write(parser.helpInformation());
      return 2;
    }
    await parser.parseAsync(argv, { from: 'user' });
    return exit;
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      // Help and version are no errors; commander has printed them.
      if (thrown.exitCode === 0) return 0;
      const program = prefix[0] ?? 'xcaas';
      const isGroup = thrown.code === 'commander.help';
      if (isGroup && !out.json) stderr.write(complaint);
      else {
        const message = isGroup ? `${[program, ...argv.filter((word) => !word.startsWith('-'))].join(' ')} needs a verb` : thrown.message;
        out.error(new AppError('usage', message.replace(/^error: /, ''), { hint: `${program} --help` }));
      }
      return 2;
    }
    const error = thrown instanceof z.ZodError ? notUnderstood(thrown) : toAppError(thrown);
    out.error(error);
    if (error.code === 'internal' && env.XCAAS_DEBUG) stderr.write(`${(thrown as Error).stack}\n`);
    return error.exit;
  }
}

/** How `status` verbs end for what they show. */
const STATUS_EXITS: Record<string, number> = { DEGRADED: 6, DOWN: 1, FAILED: 1 };

/** The API answered, but not in the form that this program knows. */
function notUnderstood(cause: z.ZodError): AppError {
  const issue = cause.issues[0];
  return new AppError('engine', `the answer of the API is not understood at ${issue?.path.join('.')}: ${issue?.message}`, {
    hint: 'is this program as old as the control plane? xcaas version',
    cause,
  });
}

async function confirm(question: string, yes: boolean, stdin: NodeJS.ReadStream, stderr: NodeJS.WriteStream): Promise<void> {
  if (yes) return;
  if (!stdin.isTTY) throw new AppError('usage', `${question} Nobody can be asked here`, { hint: 'add --yes' });
  const reader = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await reader.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new AppError('usage', 'nothing was changed');
  } finally {
    reader.close();
  }
}
