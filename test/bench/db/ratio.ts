import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { type Spread, spread, tell } from '../stats.ts';
import { type Load, startLoad } from './load.ts';
import type { LoadAnswer } from './oltp-client.ts';

/** Threads of the bar; what fewer of them come to is told beside it. */
const THREADS = 32;
const FEWER = [1, 8];
const ROWS = 100_000;
const BAR = 0.7;

/**
 * A pair whose commits wait for the slave against a pair whose commits do not: the same image, parameters, fsync settings (`sync_binlog=1`,
 * `innodb_flush_log_at_trx_commit=1` on all four, relay logs not synced by event), machine and network, loaded in turn in pairs of rounds whose order alternates. Both slaves
 * receive and apply all the time, and a round begins once both have applied everything: what one pair left to do would be taken from the other's round. How long that took is
 * told too: a pair that does not wait may run ahead of its slave, and then it is no pair for long.
 */
export async function ratio(plan: Plan, say: Say): Promise<Row[]> {
  const waits = await startXdbLab({ db: 'waits', members: ['waits-1', 'waits-2'], spec: SPEC });
  try {
    const goesOn = await startXdbLab({ db: 'goeson', members: ['goeson-1', 'goeson-2'], spec: SPEC, beside: waits });
    try {
      return await measure({ waits, goesOn }, plan, say);
    } finally {
      await goesOn.stop();
    }
  } finally {
    await waits.stop();
  }
}

const SPEC = { memoryBytes: 2 ** 30 };

async function measure({ waits, goesOn }: Record<'waits' | 'goesOn', XdbLab>, plan: Plan, say: Say): Promise<Row[]> {
  const ours = await makePair(waits, {});
  // The rule that it waits is off, and with it what would mend that.
  const baseline = await makePair(goesOn, { XCAAS_TEST_GUARDS: 'semiSyncAwaited' });
  await baseline.leader.local('SET GLOBAL rpl_semi_sync_master_enabled = OFF');
  const loads: Load[] = [];
  try {
    const load = async ({ lab, leader }: Pair) => {
      const user = { user: lab.db, password: lab.credentials.users[lab.db]![0]!, database: lab.db };
      const one = startLoad(lab.network, `${lab.network}-${lab.db}-load`, {
        host: await leader.address(),
        port: 3306,
        ...user,
        rows: ROWS,
      });
      loads.push(one);
      return one;
    };
    const sides = { ours: { pair: ours, load: await load(ours) }, baseline: { pair: baseline, load: await load(baseline) } };
    for (const side of [sides.ours, sides.baseline]) await round(side, THREADS, 3);
    const rows: Row[] = [];
    for (const threads of [THREADS, ...FEWER]) {
      const rounds = threads === THREADS ? plan.commitRounds : Math.ceil(plan.commitRounds / 2);
      rows.push(row(threads, await compare(sides, threads, rounds, plan, say)));
    }
    await checkSides(ours, baseline);
    return rows;
  } finally {
    for (const one of loads) one.stop();
  }
}

interface Pair {
  lab: XdbLab;
  leader: XdbMember;
  slave: XdbMember;
}

interface Side {
  pair: Pair;
  load: Load;
}

interface Round extends LoadAnswer {
  /** Milliseconds from its end until the slave had applied everything. */
  behindMs: number;
}

async function makePair(lab: XdbLab, env: Record<string, string>): Promise<Pair> {
  const [first, second] = [`${lab.db}-1`, `${lab.db}-2`];
  const [leader, slave] = [await lab.member(first, { env }), await lab.member(second, { env })];
  await eventually(`${lab.db} is in sync`, async () => (await lab.sync())?.sync?.id === second, 120_000);
  await eventually('its user may log in', async () => (await leader.sql('SELECT 1')).length === 1);
  await leader.sql(
    "CREATE TABLE bench (id INT PRIMARY KEY, k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k (k))",
  );
  for (let at = 0; at < ROWS; at += 10_000) {
    await leader.sql(`INSERT INTO bench SELECT seq, seq, MD5(seq), MD5(seq) FROM ${lab.db}.seq_${at + 1}_to_${at + 10_000}`);
  }
  return { lab, leader, slave };
}

/** That the one has waited with every commit, and the other with none: else nothing was compared. */
async function checkSides(ours: Pair, baseline: Pair): Promise<void> {
  const counter = async ({ leader }: Pair, name: string) =>
    Number((await leader.local(`SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_${name}'`)).split('\t')[1]);
  const [waited, not] = [await counter(ours, 'yes_tx'), await counter(ours, 'no_tx')];
  if (waited === 0 || not > 0) throw new Error(`of the pair that waits ${waited} commits did and ${not} did not`);
  const others = await counter(baseline, 'yes_tx');
  // The first ones, before it was switched off.
  if (others > waited / 100) throw new Error(`of the pair that does not wait ${others} commits did`);
}

/** Longer than this no slave may take that is to be a slave for long, in seconds. */
const SETTLE_SECONDS = 50;

async function round({ pair: { leader, slave }, load }: Side, threads: number, seconds: number): Promise<Round> {
  const answer = await load.run(threads, seconds);
  const from = performance.now();
  const goal = await leader.local('SELECT @@gtid_binlog_pos');
  if ((await slave.local(`SELECT MASTER_GTID_WAIT('${goal}', ${SETTLE_SECONDS})`)) !== '0') {
    throw new Error(`${slave.id} has not applied a round of ${seconds} s after ${SETTLE_SECONDS} s`);
  }
  return { ...answer, behindMs: performance.now() - from };
}

interface Compared {
  ratio: Spread;
  perSecond: { ours: Spread; baseline: Spread };
  p50: { ours: Spread; baseline: Spread };
  behindMs: { ours: Spread; baseline: Spread };
}

async function compare(sides: Record<'ours' | 'baseline', Side>, threads: number, rounds: number, plan: Plan, say: Say): Promise<Compared> {
  const results = { ours: [] as Round[], baseline: [] as Round[] };
  for (let turn = 0; turn < rounds; turn += 1) {
    const order = turn % 2 === 0 ? (['ours', 'baseline'] as const) : (['baseline', 'ours'] as const);
    for (const name of order) results[name].push(await round(sides[name], threads, plan.roundSeconds));
    const [a, b] = [results.ours[turn]!, results.baseline[turn]!];
    const behind = `slaves behind by ${a.behindMs.toFixed(0)} ms and ${b.behindMs.toFixed(0)} ms`;
    say(`${threads} threads, round ${turn + 1}: ${rate(a).toFixed(0)}/s against ${rate(b).toFixed(0)}/s; ${behind}`);
  }
  const of = (value: (one: Round) => number) => ({
    ours: spread(results.ours.map(value)),
    baseline: spread(results.baseline.map(value)),
  });
  return {
    ratio: spread(results.ours.map((one, at) => rate(one) / rate(results.baseline[at]!))),
    perSecond: of(rate),
    p50: of((one) => one.p50),
    behindMs: of((one) => one.behindMs),
  };
}

const rate = ({ transactions, seconds }: LoadAnswer) => transactions / seconds;

function row(threads: number, { ratio: found, perSecond, p50, behindMs }: Compared): Row {
  const isBar = threads === THREADS;
  return {
    figure: `commits that wait for the slave ÷ that do not, ${threads} thread${threads === 1 ? '' : 's'}`,
    bar: isBar ? `≥ ${BAR}` : '',
    measured: `${tell(found, 2)}; ${perSecond.ours.median.toFixed(0)}/s against ${perSecond.baseline.median.toFixed(0)}/s, ${p50.ours.median.toFixed(1)} ms against ${p50.baseline.median.toFixed(1)} ms; slaves behind at the end of a round by ${behindMs.ours.median.toFixed(0)} ms and ${behindMs.baseline.median.toFixed(0)} ms`,
    met: isBar ? found.median >= BAR : undefined,
    values: { ...found, threads, ours: perSecond.ours.median, baseline: perSecond.baseline.median },
  };
}
