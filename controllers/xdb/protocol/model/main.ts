import { MUTATIONS, mutated, REDUNDANT, tryMutation } from '#xdb/protocol/model/mutations.ts';
import { recovery } from '#xdb/protocol/model/recover.ts';
import { type Found, search } from '#xdb/protocol/model/search.ts';
import { trace } from '#xdb/protocol/model/show.ts';
import { createWorld, type World, type WorldOptions } from '#xdb/protocol/model/world.ts';

/**
 * The long run of the model: `node controllers/xdb/protocol/model/run.mjs [--quick] [--mutations] [--only NAME] [--trace GUARD,…]`. Prints a line a search; exits with 1 when the
 * protocol is broken somewhere, when a guard that was left out is not missed, or when a search did not come to its end.
 */

interface Config {
  name: string;
  world: WorldOptions;
  /** Also look for a way back to a whole pair from each state. */
  recovery: boolean;
  quick?: boolean;
}

const prompt = { promptPublications: true };

const CONFIGS: readonly Config[] = [
  { name: 'N=1', world: { live: 1, ...prompt }, recovery: true, quick: true },
  { name: 'N=1, disks are lost', world: { live: 1, diskLoss: true, ...prompt }, recovery: true, quick: true },
  { name: 'N=1, commands outlive sidecars', world: { live: 1, strays: 'all', ...prompt }, recovery: true, quick: true },
  { name: 'N=1, every command late', world: { live: 1, lateCommands: true, ...prompt }, recovery: true, quick: true },
  { name: 'N=1, old records', world: { live: 1, staleRecords: true, ...prompt }, recovery: true },
  { name: 'N=1, old records, disks are lost', world: { live: 1, staleRecords: true, diskLoss: true, ...prompt }, recovery: true },
  { name: 'N=1, late data records', world: { live: 1 }, recovery: true },
  { name: 'N=2', world: { live: 2, ...prompt }, recovery: true },
  { name: 'N=2, disks are lost', world: { live: 2, diskLoss: true, ...prompt }, recovery: true },
];

/** Takes longer than all others together, and a few GiB: last. */
const LONGEST: Config = { name: 'N=3', world: { live: 3, ...prompt }, recovery: false };

const args = process.argv.slice(2);
const quick = args.includes('--quick');
const onlyMutations = args.includes('--mutations');
/** One of the worlds by its name. */
const only = args.includes('--only') ? args[args.indexOf('--only') + 1] : undefined;
const traced = args[args.indexOf('--trace') + 1]?.split(',') ?? [];
/** So many states take 6 GiB. */
const LIMITS = { maxStates: 100_000_000, maxMs: 3_600_000 };
let failures = 0;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const count = (value: number): string => value.toLocaleString('en');
const rate = (found: Found): string =>
  `${count(found.states)} states, ${count(found.transitions)} transitions, ${(found.ms / 1000).toFixed(1)} s`;

function fail(line: string, world: World, found: Found, from: number | undefined): void {
  failures++;
  say(line);
  if (from !== undefined) for (const step of trace(world, found, from)) say(`    ${step}`);
}

if (args.includes('--trace')) {
  for (const mutation of MUTATIONS.filter(({ off }) => off.some((guard) => traced.includes(guard)))) {
    const found = tryMutation(mutation, LIMITS.maxMs);
    const { violation } = found;
    say(`without ${mutation.off.join(' and ')}: ${violation?.what ?? 'nothing'}`);
    if (violation === undefined) continue;
    for (const step of trace(mutated(mutation), found, violation.from)) say(`    ${step}`);
    say(`    ${String(violation.steps).padStart(4)} ${violation.member === 0 ? 'A' : 'B'} ${violation.label}`);
  }
} else {
  if (only !== undefined) for (const config of [...CONFIGS, LONGEST].filter(({ name }) => name === only)) runConfig(config);
  else {
    if (!onlyMutations) for (const config of CONFIGS) if (!quick || config.quick) runConfig(config);
    runMutations();
    if (!onlyMutations && !quick) runConfig(LONGEST);
  }
  say(failures === 0 ? (only === undefined ? 'the protocol holds, and each guard is needed' : 'it holds') : `${failures} failed`);
  process.exitCode = failures === 0 ? 0 : 1;
}

function runConfig(config: Config): void {
  const world = createWorld(config.world);
  const found = search(world, { ...LIMITS, keepEdges: config.recovery });
  const { violation } = found;
  if (violation !== undefined) fail(`${config.name}: ${violation.what} (${violation.label}), ${rate(found)}`, world, found, violation.from);
  else if (!found.complete) fail(`${config.name}: not complete, ${rate(found)}`, world, found, undefined);
  else if (!config.recovery) say(`${config.name}: safe, complete, ${rate(found)}`);
  else {
    const { stuck, lost, example } = recovery(found);
    if (stuck > 0) fail(`${config.name}: ${count(stuck)} states have no way back`, world, found, example);
    else say(`${config.name}: safe, complete, a way back from all but ${count(lost)} states by design, ${rate(found)}`);
  }
}

function runMutations(): void {
  say('\nguard left out | rule | broken after');
  for (const mutation of MUTATIONS.filter(({ slow }) => !quick || slow !== true)) {
    const found = tryMutation(mutation, LIMITS.maxMs);
    const name = `${mutation.off.join(', ')} | ${mutation.rule}`;
    if (found.violation === undefined) fail(`${name} | NOT MISSED, ${rate(found)}`, mutated(mutation), found, undefined);
    else say(`${name} | ${found.violation.steps} steps (${found.violation.what.slice(0, 2)}), ${rate(found)}`);
  }
  for (const mutation of REDUNDANT) {
    const found = tryMutation(mutation, LIMITS.maxMs);
    const name = `${mutation.off.join(', ')} | ${mutation.rule}`;
    if (found.complete) say(`${name} | not needed by itself, ${rate(found)}`);
    else fail(`${name} | is needed: ${found.violation?.what}`, mutated(mutation), found, found.violation?.from);
  }
}
