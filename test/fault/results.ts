/** What became of one fault. Times in milliseconds. */
export interface FaultResult {
  number: number;
  name: string;
  expect: string;
  /** Who was hurt. */
  what: string;
  /** From the fault to the healing. */
  lastedMs: number;
  /** Time to writable: the longest time without an acknowledgement of any client, from the fault until the service was whole. */
  stallMs: number;
  /** The same from the healing on, */
  stallAfterHealMs: number;
  /** which is what counts where nothing can be written before. */
  from: 'fault' | 'heal';
  /** From the healing until all members were whole. */
  wholeMs: number;
  epochs: readonly [number, number];
  /** What clients heard of the transactions of this fault's time; `excused`: acknowledged and missing, within the stated exception or bound. */
  counts: { acked: number; refused: number; unknown: number; excused: number };
  /** What the checker found wrong, each kind once. */
  found: string[];
  /** Why it is not as it should be; empty when it is. */
  failures: string[];
}

export interface RunResult {
  seed: number;
  started: string;
  seconds: number;
  faults: FaultResult[];
}

const seconds = (ms: number) => (ms / 1000).toFixed(1);
const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)] ?? 0;

const toWritable = (one: FaultResult) => (one.from === 'fault' ? one.stallMs : one.stallAfterHealMs);

/** A row a kind of fault, and what went wrong below. Times in seconds. */
export function describeRun({ seed, faults, seconds: took }: RunResult): string {
  const kinds = new Map<string, FaultResult[]>();
  for (const one of faults) kinds.set(one.name, [...(kinds.get(one.name) ?? []), one]);
  const rows = [...kinds].map(([name, list]) => {
    const of = (pick: (one: FaultResult) => number) => list.map(pick);
    return [
      name,
      String(list.length),
      list[0]!.from,
      ...[median(of(toWritable)), Math.max(...of(toWritable))].map(seconds),
      seconds(Math.max(...of((one) => one.wholeMs))),
      String(list.reduce((sum, { counts }) => sum + counts.excused, 0)),
      String(list.filter(({ failures }) => failures.length > 0).length),
    ];
  });
  const head = ['fault', 'times', 'counted from', 'writable after: median', 'max', 'whole after healing: max', 'lost as may be', 'wrong'];
  const sum = (name: keyof FaultResult['counts']) => faults.reduce((total, { counts }) => total + counts[name], 0);
  const lines = [
    `seed ${seed}: ${faults.length} faults in ${Math.round(took / 60)} min`,
    `${sum('acked')} writes acknowledged, ${sum('refused')} refused, ${sum('unknown')} unknown; ${sum('excused')} lost as the promise says they may be`,
    '',
    ...columns([head, ...rows]),
  ];
  const wrong = faults.filter(({ failures }) => failures.length > 0);
  for (const { number, name, what, failures } of wrong)
    lines.push('', `#${number} ${name} (${what})`, ...failures.map((text) => `  ${text}`));
  return `${lines.join('\n')}\n`;
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  return rows.map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '));
}
