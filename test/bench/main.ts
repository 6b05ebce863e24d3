import { parseArgs } from 'node:util';
import { messageOf } from '#core/errors.ts';
import { FULL, type Plan, QUICK, type Row } from './figure.ts';
import { describeMachine } from './machine.ts';
import type { Suite } from './suite.ts';
import { cache } from './suites/cache.ts';
import { db } from './suites/db.ts';
import { lb } from './suites/lb.ts';

/** Measures one kind of service on this machine and holds each figure against its bar. Ends with 1 when a bar is missed. */

const SUITES: Readonly<Record<string, Suite>> = { lb, db, cache };
const usage = (name: string, { names }: Suite) => `./xcaas bench ${name} [--quick] [--json] [--only ${names.join(',')}]`;
const USAGE = Object.entries(SUITES)
  .map(([name, suite], at) => `${at === 0 ? 'usage:' : '      '} ${usage(name, suite)}`)
  .join('\n');

const say = (text: string) => void process.stderr.write(`${text}\n`);

function read(): { suite: Suite; plan: Plan; json: boolean; only: ReadonlySet<string> } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, only: { type: 'string' } },
  });
  const suite = positionals.length === 1 ? SUITES[positionals[0]!] : undefined;
  if (suite === undefined) throw new Error(USAGE);
  const only = new Set<string>(values.only?.split(',') ?? suite.names);
  if (![...only].every((name) => suite.names.includes(name))) throw new Error(USAGE);
  return { suite, plan: values.quick ? QUICK : FULL, json: values.json ?? false, only };
}

/** What is measured says time and again how far it is: there it is broken off, and takes away what it has started as after any failure. */
function breakable(): { interrupted(): boolean; say(text: string): void } {
  let interrupted = false;
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      if (interrupted) process.exit(130);
      interrupted = true;
      say('\ninterrupted: ends with the round that is under way and removes what was started; once more ends at once and leaves it');
    });
  return {
    interrupted: () => interrupted,
    say(text) {
      say(`  ${text}`);
      if (interrupted) throw new Error('interrupted');
    },
  };
}

async function main(): Promise<number> {
  const { suite, plan, json, only } = read();
  const work = breakable();
  const began = performance.now();
  const machine = await describeMachine(suite);
  say(
    Object.entries(machine)
      .map(([key, value]) => `${key.padEnd(10)} ${value}`)
      .join('\n'),
  );
  const rows: Row[] = [];
  for (const { name, wanted, measure } of suite.groups({ plan, only, say: work.say })) {
    if (!wanted) continue;
    if (work.interrupted()) return 130;
    say(`\n${name}`);
    try {
      rows.push(...(await measure()));
    } catch (error) {
      // The other figures are measured all the same.
      rows.push({ figure: name, bar: 'measured', measured: `failed: ${messageOf(error)}`, met: false, values: {} });
    }
  }
  if (work.interrupted()) return 130;
  const seconds = Math.round((performance.now() - began) / 1000);
  if (json) process.stdout.write(`${JSON.stringify({ v: 1, quick: plan.quick, seconds, machine, rows })}\n`);
  else process.stdout.write(`\n${table(rows)}\n`);
  const missed = rows.filter((row) => row.met === false).length;
  say(
    `\n${rows.filter((row) => row.met).length} met, ${missed} missed, ${rows.filter((row) => row.met === undefined).length} without a bar or not measured, in ${seconds} s`,
  );
  return missed === 0 ? 0 : 1;
}

function table(rows: readonly Row[]): string {
  const lines = [
    ['figure', 'bar', 'measured: median (least–most)', 'met'],
    ...rows.map(({ figure, bar, measured, met }) => [figure, bar, measured, word(met)]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const word = (met: boolean | undefined) => (met === undefined ? '–' : met ? 'yes' : 'NO');

process.exitCode = await main().catch((error: unknown) => {
  say(messageOf(error));
  return 2;
});
