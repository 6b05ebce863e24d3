import { parseArgs } from 'node:util';
import { messageOf } from '#core/errors.ts';
import { FULL, type Plan, QUICK, type Row } from './figure.ts';
import { http } from './figures/http.ts';
import { many, type Part } from './figures/many.ts';
import { tcp } from './figures/tcp.ts';
import { up } from './figures/up.ts';
import { describeMachine } from './machine.ts';

/** Measures a load balancer on this machine and holds each figure against its bar. Ends with 1 when a bar is missed. */

const PARTS: readonly Part[] = ['rest', 'propagation', 'sockets', 'starts'];
const NAMES = ['http', 'tcp', ...PARTS, 'up'] as const;
const USAGE = `usage: ./xcaas bench lb [--quick] [--json] [--only ${NAMES.join(',')}]`;

const say = (text: string) => void process.stderr.write(`${text}\n`);

function read(): { plan: Plan; json: boolean; only: ReadonlySet<string> } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, only: { type: 'string' } },
  });
  const only = new Set<string>(values.only?.split(',') ?? NAMES);
  const unknown = [...only].find((name) => !NAMES.some((known) => known === name));
  if (positionals.join() !== 'lb' || unknown !== undefined) throw new Error(USAGE);
  return { plan: values.quick ? QUICK : FULL, json: values.json ?? false, only };
}

async function main(): Promise<number> {
  const { plan, json, only } = read();
  const began = performance.now();
  const machine = await describeMachine();
  say(
    Object.entries(machine)
      .map(([key, value]) => `${key.padEnd(10)} ${value}`)
      .join('\n'),
  );
  const rows: Row[] = [];
  const parts = new Set(PARTS.filter((part) => only.has(part)));
  const figures: [string, boolean, () => Promise<Row[]>][] = [
    ['http', only.has('http'), () => http(plan, indented)],
    ['tcp', only.has('tcp'), () => tcp(plan, indented)],
    ['1,000 endpoints', parts.size > 0, () => many(plan, indented, parts)],
    ['up', only.has('up'), () => up(indented)],
  ];
  for (const [name, wanted, measure] of figures) {
    if (!wanted) continue;
    say(`\n${name}`);
    try {
      rows.push(...(await measure()));
    } catch (error) {
      // The other figures are measured all the same.
      rows.push({ figure: name, bar: 'measured', measured: `failed: ${messageOf(error)}`, met: false, values: {} });
    }
  }
  const seconds = Math.round((performance.now() - began) / 1000);
  if (json) process.stdout.write(`${JSON.stringify({ v: 1, quick: plan.quick, seconds, machine, rows })}\n`);
  else process.stdout.write(`\n${table(rows)}\n`);
  const missed = rows.filter((row) => row.met === false).length;
  say(
    `\n${rows.filter((row) => row.met).length} met, ${missed} missed, ${rows.filter((row) => row.met === undefined).length} without a bar or not measured, in ${seconds} s`,
  );
  return missed === 0 ? 0 : 1;
}

const indented = (text: string) => say(`  ${text}`);

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
