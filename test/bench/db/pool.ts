import { createConnection } from 'mysql2/promise';
import { waitFor } from '#core/sleep.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { createRandom } from '#test/random.ts';
import { type DbSuite, startDbSuite } from '../../fault/db-suite.ts';
import { type DbJson, isWhole } from '../../fault/db-world.ts';
import { faultNamed } from '../../fault/faults/db.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';

export type PoolPart = 'create' | 'host';

const PORT = 13307;

/** A pool of three hosts in one machine, each with an engine, and clients that write through the name and through published ports all the time. */
export async function pool(plan: Plan, say: Say, parts: ReadonlySet<PoolPart>): Promise<Row[]> {
  const suite = await startDbSuite({ seed: 1 });
  try {
    return [...(parts.has('create') ? [await create(suite, say)] : []), ...(parts.has('host') ? await hosts(suite, plan, say) : [])];
  } finally {
    await suite.stop();
  }
}

/** From the command to a master and a slave in sync, and a row that a client has written. */
async function create({ world }: DbSuite, say: Say): Promise<Row> {
  const { pool: on } = world;
  const began = performance.now();
  const size = ['--cpu', '0', '--memory', '1', '--disk', '6'];
  await on.json(['db', 'create', '-d', 'bdb', ...size, '--publish', String(PORT)], { timeoutMs: 300_000 });
  const status = await waitFor(
    async () => {
      const now = await on.json<DbJson>(['db', 'status', 'bdb'], { timeoutMs: 30_000 });
      return isWhole(now) ? now : undefined;
    },
    { timeoutMs: 180_000, intervalMs: 200 },
  );
  if (status === undefined) throw new Error('bdb did not become whole');
  const { user, password, database } = await on.json<{ user: string; password: string; database: string }>(['db', 'url', 'bdb']);
  const { address } = on.host(status.members.find(({ id }) => id === status.master)!.node);
  const write = async () => {
    const tls = { ssl: { rejectUnauthorized: false } };
    const connection = await createConnection({ host: address, port: PORT, user, password, database, connectTimeout: 1000, ...tls });
    try {
      await connection.query('CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)');
      await connection.query('REPLACE INTO t VALUES (1)');
      return true;
    } finally {
      connection.destroy();
    }
  };
  const written = await waitFor(() => write().catch(() => undefined), { timeoutMs: 60_000, intervalMs: 100 });
  if (written !== true) throw new Error('nothing could be written to bdb');
  const seconds = (performance.now() - began) / 1000;
  say(`db create: ${seconds.toFixed(1)} s`);
  await on.json(['db', 'destroy', 'bdb', '--purge', '--yes'], { timeoutMs: 120_000 });
  return {
    figure: 'db create → a writable pair in sync, images present',
    bar: '≤ 20 s',
    measured: `${seconds.toFixed(1)} s`,
    met: seconds <= 20,
    values: { seconds },
  };
}

async function hosts(suite: DbSuite, plan: Plan, say: Say): Promise<Row[]> {
  const fault = faultNamed("the master's host loses its power");
  const random = createRandom(1);
  let number = 0;
  const lose = async (withConsul: boolean): Promise<Row> => {
    const felt: number[] = [];
    for (let turn = 1; turn <= plan.hostLosses; turn += 1) {
      await suite.runner.settle(300);
      await lead(suite, withConsul);
      number += 1;
      const { stallMs, failures } = await suite.runner.run(fault, number, random.fork(`loss ${number}`));
      if (failures.length > 0) throw new Error(`${fault.name}: ${failures.join('; ')}`);
      felt.push(stallMs);
      say(`${fault.name}${withConsul ? ", Consul's leader with it" : ''}: no acknowledged write for ${(stallMs / 1000).toFixed(1)} s`);
    }
    const bar = withConsul ? 10 : 6;
    return {
      figure: `host loss → writable${withConsul ? ", with Consul's leader on it" : ''}, ${felt.length} times`,
      bar: `max ≤ ${bar} s`,
      measured: tell(spread(felt.map((ms) => ms / 1000)), 1, ' s'),
      met: Math.max(...felt) <= bar * 1000,
      values: { ...spread(felt), times: felt.length },
    };
  };
  const rows = [await lose(false), await lose(true)];
  const { violations, acked } = await suite.runner.checkAll();
  const lost = violations.filter(({ kind }) => kind === 'lost').length;
  return [
    ...rows,
    {
      figure: 'acknowledged writes lost with hosts',
      bar: '0',
      measured: `${lost} of ${acked}`,
      met: violations.length === 0,
      values: { lost, acked },
    },
  ];
}

/** Puts Consul's leader on the master's host, or on the host without a member. Whoever leads elsewhere is stopped until another one does: Consul 1.16 hands over to nobody by name. */
async function lead({ world }: DbSuite, withMaster: boolean): Promise<void> {
  const { master, follower: slave, witness } = await world.roles();
  const wanted = withMaster ? master.host : witness;
  const seenFrom = (on: PoolHost, except?: PoolHost) =>
    waitFor(
      async () => {
        const leader = await world.consulLeader(on).catch(() => undefined);
        return leader === except ? undefined : leader;
      },
      { timeoutMs: 60_000, intervalMs: 300 },
    );
  for (let tries = 0; tries < 10; tries += 1) {
    const now = await seenFrom(wanted);
    if (now === wanted) return;
    if (now === undefined) break;
    await now.run('docker', ['stop', '--time', '5', 'xcaas-consul'], { timeoutMs: 60_000 });
    const other = [master.host, slave.host, witness].find((host) => host !== now) ?? witness;
    await seenFrom(other, now);
    await now.run('docker', ['start', 'xcaas-consul'], { timeoutMs: 60_000 });
  }
  throw new Error(`Consul's leader did not move to ${wanted.name}`);
}
