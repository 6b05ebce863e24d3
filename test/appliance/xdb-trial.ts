import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, describeVerdict } from '#test/history/check.ts';
import { readJournals, startHistory } from '#test/history/driver.ts';
import { readsEpoch } from '#test/history/epoch.ts';
import { now } from '#test/history/journal.ts';
import { parseBatch, readState } from '#test/history/state.ts';
import { CREATE_TABLES } from '#test/history/tables.ts';
import { ackTimes, type Gap, type Writable, writable } from '#test/history/writable.ts';
import { eventually, type LabOptions, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { MoveOrder } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';

export interface Roles {
  leader: XdbMember;
  slave: XdbMember;
  epoch: number;
}

/** What clients felt of something that was done to a pair, and what it was before and after. */
export interface Survived extends Writable {
  before: Roles;
  after: Roles;
}

/** A pair of members in one engine, and clients that write through its name all the time. */
export interface Trial {
  lab: XdbLab;
  one: XdbMember;
  two: XdbMember;
  /** @throws unless the record is open and names a sync slave */
  roles(): Promise<Roles>;
  /** The record names a slave, and both members do what they should. */
  whole(): Promise<Roles>;
  /**
   * Does something to the pair while clients write, waits until it is whole again by itself, and holds everything that was ever acknowledged against both members.
   *
   * @param excused sessions that waited were KILLed meanwhile: the promise's stated exception
   * @param quiet nobody can write before that
   * @throws when anything acknowledged is missing, there twice, or differs between the members
   */
  survive(what: string, fault: (roles: Roles) => Promise<unknown>, options?: { excused?: boolean; quiet?: boolean }): Promise<Survived>;
  /** Orders a switchover. @returns how it ended */
  order(target: string): Promise<MoveOrder>;
  /** Acknowledgements so far. */
  acked(): Promise<number>;
  /** Clients write again and again now. */
  writing(): Promise<void>;
  /** Its clients write no more. */
  quiet(): Promise<void>;
  stop(): Promise<void>;
}

/** Times after what was done that still count to it, in milliseconds. */
const TAIL_MS = 500;

/** @param thinkMs mean pause of a client between two transactions */
export async function startTrial({ thinkMs = 60, ...options }: LabOptions & { thinkMs?: number } = {}): Promise<Trial> {
  const folder = await mkdtemp(join(tmpdir(), 'xdbt-'));
  const lab = await startXdbLab(options);
  const clean = async () => {
    await lab.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const [one, two] = [await lab.member('adb-1'), await lab.member('adb-2')];
    const members = [one, two];
    const of = (id: string) => members.find((member) => member.id === id) as XdbMember;
    const roles = async (): Promise<Roles> => {
      const sync = await lab.sync();
      if (sync === undefined || sync.state !== 'open' || sync.sync === null) throw new Error(`no open pair: ${JSON.stringify(sync)}`);
      return { leader: of(sync.leader.id), slave: of(sync.sync.id), epoch: sync.epoch };
    };
    const whole = async () => {
      await eventually(
        'the pair is whole',
        async () => {
          const { leader, slave, epoch } = await roles();
          const [leads, follows] = [await leader.status(), await slave.status()];
          const well = (status: typeof leads) => status.state === 'running' && status.epoch === epoch;
          return (
            (well(leads) && well(follows) && leads.readOnly === false && follows.readOnly === true) || [leads.sentence, follows.sentence]
          );
        },
        90_000,
      );
      return roles();
    };
    const { leader } = await whole();
    const { db, credentials, network } = lab;
    await eventually('the user may log in', async () => (await leader.sql('SELECT 1')).length === 1);
    for (const text of CREATE_TABLES) await leader.sql(text);
    // Users do not see the heartbeat; these read the epoch inside their transactions.
    await leader.local(`GRANT SELECT ON xcaas.heartbeat TO '${db}'@'%'`);
    const servers = await Promise.all(
      members.map(async (member) => ({ serverId: await member.local('SELECT @@server_id'), member: member.id })),
    );
    const clients = await startHistory({
      inContainer: { host: { env: {} }, network, image: 'node:24-trixie-slim', name: `${network}-clients` },
      ...{ client: 'c', folder, seed: 1, steady: 3, fresh: 2, thinkMs, freshQueryMs: 2500 },
      endpoint: {
        hosts: [{ host: db, port: 3306 }],
        ...{ user: db, password: credentials.users[db]![0]!, database: db, tls: 'unverified', connectMs: 1000, queryMs: 8000 },
      },
      epochSql: readsEpoch(servers),
    });
    const excuses: Gap[] = [];
    const acked = async () => (await clients.report()).acked;

    async function verify(what: string): Promise<Roles> {
      await clients.pause();
      try {
        const found = await whole();
        const { leader, slave } = found;
        const goal = await leader.local('SELECT @@gtid_binlog_pos');
        const reached = await slave.local(`SELECT MASTER_GTID_WAIT('${goal}', 20)`);
        if (reached !== '0') throw new Error(`${what}: ${slave.id} does not reach ${goal}`);
        const states = await Promise.all([leader, slave].map((member) => readState(member.id, sqlOf(member, db))));
        const verdict = check({ attempts: readJournals(folder), states, excused: excuses });
        if (verdict.violations.length > 0) throw new Error(`${what}: ${describeVerdict(verdict)}`);
        if (verdict.acked === 0) throw new Error('nothing was ever acknowledged');
        return found;
      } finally {
        // Whatever came of it: the next test is another one.
        await clients.resume();
      }
    }

    let orders = 0;
    async function order(target: string): Promise<MoveOrder> {
      orders += 1;
      const key = dbKeys(db).move;
      const asked = MoveOrder.parse({ v: 1, id: `order-${orders}`, kind: 'switchover', target, state: 'asked' });
      await lab.consul.kv.put(key, JSON.stringify(asked));
      let now = asked;
      await eventually(`${asked.id} has ended`, async () => {
        now = MoveOrder.parse(JSON.parse((await lab.consul.kv.get(key, { consistent: true }))?.value ?? ''));
        return now.state === 'done' || now.state === 'failed' || now;
      });
      return now;
    }

    const trial: Trial = {
      ...{ lab, one, two, roles, whole, acked, order },
      async writing() {
        const before = await acked();
        await eventually('clients write', async () => (await acked()) > before + 5);
      },
      async survive(what, fault, { excused = false, quiet = false } = {}) {
        if (!quiet) await trial.writing();
        const before = await roles();
        const from = now();
        await fault(before);
        await whole();
        const to = now() + TAIL_MS;
        await trial.writing();
        await new Promise((resolve) => setTimeout(resolve, TAIL_MS));
        if (excused) excuses.push({ from, to });
        const after = await verify(what);
        return { ...writable(ackTimes(readJournals(folder)), { from, to }), before, after };
      },
      quiet: async () => void (await clients.stop()),
      async stop() {
        clients.kill();
        await clean();
      },
    };
    await trial.writing();
    return trial;
  } catch (error) {
    await clean();
    throw error;
  }
}

const sqlOf = (member: XdbMember, db: string) => async (text: string) => {
  const { code, stdout, stderr } = await member.exec(
    'mariadb',
    '--user=xcaas_agent',
    '--batch',
    '--skip-column-names',
    db,
    '--execute',
    text,
  );
  if (code !== 0) throw new Error(`${member.id}: ${stderr}`);
  return parseBatch(stdout);
};
