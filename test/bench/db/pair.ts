import { sleep } from '#core/sleep.ts';
import type { XdbMember } from '#test/xdb-lab.ts';
import { eventually } from '#test/xdb-lab.ts';
import { type Survived, startTrial, type Trial } from '../../appliance/xdb-trial.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';

export type PairPart = 'switchover' | 'crash' | 'rest';

/** Two members on one engine with a real Consul; after each change both are held against every acknowledgement that a client ever got. */
export async function pair(plan: Plan, say: Say, parts: ReadonlySet<PairPart>): Promise<Row[]> {
  const trial = await startTrial({ thinkMs: 10 });
  try {
    return [
      ...(parts.has('switchover') ? [await switchover(trial, plan, say)] : []),
      ...(parts.has('crash') ? [await crash(trial, plan, say)] : []),
      ...(parts.has('switchover') || parts.has('crash') ? [await lost(trial)] : []),
      ...(parts.has('rest') ? await rest(trial, plan, say) : []),
    ];
  } finally {
    await trial.stop();
  }
}

async function switchover(trial: Trial, { switchovers }: Plan, say: Say): Promise<Row> {
  const blocked: number[] = [];
  const felt = await again(trial, switchovers, 'switchover', say, async ({ slave }) => {
    const { state, error, blockedMs } = await trial.order(slave.id);
    if (state !== 'done') throw new Error(`a switchover failed: ${error}`);
    blocked.push(blockedMs ?? Number.NaN);
  });
  return {
    figure: `switchover: longest time without an acknowledged write, ${felt.length} times`,
    bar: 'max < 1 s',
    measured: `${tell(spread(felt), 0, ' ms')}; by the members' own measure ${tell(spread(blocked), 0, ' ms')}`,
    met: Math.max(...felt) < 1000,
    values: { ...spread(felt), times: felt.length, blockedMaxMs: Math.max(...blocked) },
  };
}

async function crash(trial: Trial, { crashes }: Plan, say: Say): Promise<Row> {
  const felt = await again(trial, crashes, 'kill -9 of the master engine', say, async ({ leader, slave }) => {
    await leader.signal('mariadbd', 'KILL');
    await eventually('the slave leads', async () => (await trial.lab.sync())?.leader.id === slave.id);
  });
  return {
    figure: `engine crash → writable, ${felt.length} times`,
    bar: 'max ≤ 3 s',
    measured: tell(spread(felt), 0, ' ms'),
    met: Math.max(...felt) <= 3000,
    values: { ...spread(felt), times: felt.length },
  };
}

async function again(
  trial: Trial,
  times: number,
  what: string,
  say: Say,
  change: (before: Survived['before']) => Promise<unknown>,
): Promise<number[]> {
  const felt: number[] = [];
  for (let turn = 1; turn <= times; turn += 1) {
    const { longestMs } = await trial.survive(what, change);
    felt.push(longestMs);
    say(`${what} ${turn}: no acknowledged write for ${Math.round(longestMs)} ms`);
  }
  return felt;
}

/** Anything that is missing would have ended the run before. */
async function lost(trial: Trial): Promise<Row> {
  const acked = await trial.acked();
  return { figure: 'acknowledged writes lost', bar: '0', measured: `0 of ${acked}`, met: true, values: { lost: 0, acked } };
}

/** With its master and its slave at rest: nobody writes, no client is there. */
async function rest(trial: Trial, { restSeconds }: Plan, say: Say): Promise<Row[]> {
  await trial.quiet();
  const { leader, slave } = await trial.whole();
  // What the last change has left to do.
  await sleep(10_000);
  const [ofLeader, ofSlave] = await Promise.all([use(leader, restSeconds), use(slave, restSeconds)]);
  const mib = (bytes: number) => bytes / 2 ** 20;
  say(
    `sidecars at rest over ${restSeconds} s: ${[ofLeader, ofSlave].map(({ rss, share }) => `${mib(rss).toFixed(0)} MiB, ${(share * 100).toFixed(2)} %`).join('; ')}`,
  );
  const both = [ofLeader, ofSlave];
  const [rss, share] = [Math.max(...both.map((one) => one.rss)), Math.max(...both.map((one) => one.share))];
  return [
    {
      figure: 'sidecar at rest: memory (RSS), the larger of both members',
      bar: '< 90 MB',
      measured: `${(rss / 1e6).toFixed(1)} MB`,
      met: rss < 90e6,
      values: { leader: ofLeader.rss, slave: ofSlave.rss },
    },
    {
      figure: `sidecar at rest: CPU over ${restSeconds} s, the larger of both members`,
      bar: '< 1 % of a core',
      measured: `${(share * 100).toFixed(2)} %`,
      met: share < 0.01,
      values: { leader: ofLeader.share, slave: ofSlave.share },
    },
  ];
}

/** What a member's sidecar uses while nothing is asked of it. */
export async function use(member: XdbMember, seconds: number): Promise<{ rss: number; share: number }> {
  const [pid] = await member.pids('node');
  if (pid === undefined) throw new Error(`${member.id} has no sidecar`);
  const look = async () => {
    const { code, stdout, stderr } = await member.exec('cat', `/proc/${pid}/stat`, `/proc/${pid}/status`);
    if (code !== 0) throw new Error(`${member.id}: ${stderr}`);
    const fields = stdout.slice(stdout.indexOf(') ') + 2).split(' ');
    // The kernel counts in hundredths of a second.
    return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, rss: Number(/^VmRSS:\s+(\d+) kB/m.exec(stdout)?.[1]) * 1024 };
  };
  const before = await look();
  const began = performance.now();
  await sleep(seconds * 1000);
  const after = await look();
  return { rss: after.rss, share: (after.cpu - before.cpu) / ((performance.now() - began) / 1000) };
}
