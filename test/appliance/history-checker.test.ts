import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sleep, waitFor } from '#core/sleep.ts';
import { check, describeVerdict } from '#test/history/check.ts';
import type { History } from '#test/history/client-process.ts';
import { type HistoryOptions, readJournals, startHistory } from '#test/history/driver.ts';
import { now } from '#test/history/journal.ts';
import { PLAIN_EPOCH, type PlainPair, startPlainPair } from '#test/history/plain-pair.ts';
import { readState } from '#test/history/state.ts';
import { ackTimes, writable } from '#test/history/writable.ts';

/** The client and the checker of the fault suite, against a pair of MariaDB servers that nobody watches over. */
let pair: PlainPair;
let folder: string;
const clients: History[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'xcaas-history-'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.kill();
  await pair?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function write(options: Partial<HistoryOptions> = {}): Promise<History> {
  const name = `c${clients.length + 1}`;
  const client = await startHistory({
    ...{ client: name, folder, endpoint: pair.endpoint, seed: 1, epochSql: PLAIN_EPOCH, thinkMs: 10 },
    ...options,
  });
  clients.push(client);
  return client;
}

async function acknowledged(client: History, more: number): Promise<void> {
  const { acked } = await client.report();
  const there = await waitFor(async () => ((await client.report()).acked >= acked + more ? true : undefined), { timeoutMs: 30_000 });
  expect(there, `${more} acknowledgements; it saw ${JSON.stringify(await client.report())}`).toBe(true);
}

async function verdict(...members: PlainPair['master'][]) {
  const states = await Promise.all(members.map(({ name, sql }) => readState(name, sql)));
  const result = check({ attempts: readJournals(folder), states });
  process.stderr.write(`  ${describeVerdict(result)}\n`);
  return { ...result, kinds: [...new Set(result.violations.map(({ kind }) => kind))].sort() };
}

/** The slave has applied what the master wrote. */
async function caughtUp(): Promise<void> {
  const [[position] = []] = await pair.master.sql('SELECT @@gtid_binlog_pos');
  await pair.slave.sql(`SELECT MASTER_GTID_WAIT('${position}', 30)`);
}

describe('a pair that replicates semi-synchronously', () => {
  it('is found whole after its master burned and its slave took over', async () => {
    pair = await startPlainPair({ semiSync: true });
    const client = await write();
    await acknowledged(client, 200);
    const diedAt = now();
    await pair.master.destroy();
    await sleep(500);
    // What was received and not yet applied was acknowledged.
    await pair.slave.sql('STOP SLAVE IO_THREAD');
    await drained();
    await pair.promote(2);
    await acknowledged(client, 200);
    const seen = await client.stop();

    const result = await verdict(pair.slave);
    expect(result.violations).toEqual([]);
    expect(result.acked).toBe(seen.acked);
    expect(result.acked).toBeGreaterThan(400);
    const back = writable(ackTimes(readJournals(folder)), { from: diedAt, to: now() });
    expect(back.returned).toBe(true);
    expect(back.afterMs).toBeGreaterThan(500);
    expect(back.afterMs).toBeLessThan(30_000);
  });

  it('is found to have two equal members, whatever becomes of a client', async () => {
    pair = await startPlainPair({ semiSync: true });
    const [staying, dying] = [await write(), await write()];
    await acknowledged(dying, 100);
    dying.kill();
    await acknowledged(staying, 100);
    const paused = await staying.pause();
    await sleep(300);
    expect((await staying.report()).acked).toBe(paused.acked);
    await staying.resume();
    await acknowledged(staying, 50);
    await staying.stop();
    await caughtUp();
    expect((await verdict(pair.master, pair.slave)).violations).toEqual([]);
  });

  async function drained(): Promise<void> {
    const applied = async () => {
      const [row] = await pair.slave.sql('SHOW SLAVE STATUS');
      return row?.some((column) => column?.startsWith('Slave has read all relay log')) ? true : undefined;
    };
    expect(await waitFor(applied, { timeoutMs: 20_000 })).toBe(true);
  }
});

describe('a pair that replicates asynchronously', () => {
  it('is found to have lost what it acknowledged before its master burned', async () => {
    pair = await startPlainPair({ semiSync: false });
    const client = await write();
    await acknowledged(client, 100);
    await pair.slave.sql('STOP SLAVE');
    await acknowledged(client, 50);
    await pair.master.destroy();
    await pair.promote(2);
    await acknowledged(client, 50);
    await client.stop();

    const { kinds, violations } = await verdict(pair.slave);
    expect(kinds).toContain('lost');
    expect(violations.filter(({ kind }) => kind === 'lost').length).toBeGreaterThanOrEqual(50);
  });

  it('is found to have two masters when its slave takes over while the master lives', async () => {
    pair = await startPlainPair({ semiSync: false });
    const client = await write();
    await acknowledged(client, 50);
    await pair.promote(2);
    // The old master is asked first by some, the new one by others.
    await acknowledged(client, 300);
    await client.stop();

    const { kinds } = await verdict(pair.slave, pair.master);
    expect(kinds).toEqual(expect.arrayContaining(['lost', 'members_differ', 'epoch_back']));
  });

  it('is found to have two writers in an epoch', async () => {
    pair = await startPlainPair({ semiSync: false });
    const client = await write();
    await pair.promote(1);
    await acknowledged(client, 200);
    await client.stop();
    expect((await verdict(pair.slave, pair.master)).kinds).toEqual(expect.arrayContaining(['two_writers', 'members_differ']));
  });

  it('is found to hold what its client was told had failed, or never tried', async () => {
    pair = await startPlainPair({ semiSync: false });
    const client = await write();
    await acknowledged(client, 50);
    await client.stop();
    await pair.master.sql(
      "INSERT INTO history_rows (client, worker, seq, part, parts, round, filler) VALUES ('c1', 1, 99999, 1, 1, 0, '')",
    );
    await pair.master.sql(
      'INSERT INTO history_rows (client, worker, seq, part, parts, round, filler) SELECT client, worker, seq, part, parts, round, filler FROM history_rows LIMIT 1',
    );
    await caughtUp();
    expect((await verdict(pair.master, pair.slave)).kinds).toEqual(['invented', 'twice']);
  });
});
