import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine, EngineSession, UpstreamMaster } from '#xdb/engine/engine.ts';
import { type Lab, type LabMember, startLab, within } from './xdb-engine-lab.ts';
import { type OutsideServer, startOutside } from './xdb-outside.ts';

/**
 * A master that is followed by file and offset, as a MySQL is, which has no GTIDs of ours. Debian's stable release has no MySQL to test with, so it is a MariaDB that is
 * followed in this way; a crash, after which transactions of a MySQL may come twice, cannot be shown with it.
 */
let lab: Lab;
let member: LabMember;
let outside: OutsideServer;
let session: EngineSession;
let master: UpstreamMaster;

beforeAll(async () => {
  lab = await startLab();
  member = await lab.member('a');
  outside = await startOutside(lab.network, ['--server-id=1', '--log-bin=bin', '--max-allowed-packet=64M']);
  const [place] = await outside.sql<{ File: string; Position: number }>('SHOW MASTER STATUS');
  await outside.sql('CREATE DATABASE shop');
  await outside.sql('CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, word LONGTEXT)');
  const engine = member.engine as Engine;
  await engine.initialise({ agentPassword: 'agent-secret' });
  await engine.beginAt({ file: place!.File, offset: Number(place!.Position) });
  master = { host: outside.address, port: 3306, user: outside.user, password: outside.password, tls: true, caFile: undefined };
  session = await member.up();
  await session.followUpstream(master);
});
afterAll(async () => {
  await outside?.remove();
  await lab?.stop();
});

const here = async () => String((await session.query<{ n: unknown }>('SELECT COUNT(*) n FROM shop.t').catch(() => [{ n: 'none' }]))[0]?.n);
const there = async () => String((await outside.sql<{ n: unknown }>('SELECT COUNT(*) n FROM shop.t'))[0]?.n);
const caughtUp = () =>
  within(60_000, 'everything is applied', async () => {
    const { slave } = await session.facts();
    return (
      slave?.io === 'running' &&
      slave.drained === true &&
      (await session.behindUpstream(master)).reached &&
      (await here()) === (await there())
    );
  });

describe('a master without GTIDs', () => {
  it('is followed from the place that the copy is of, and it is known when everything is applied', async () => {
    await outside.sql("INSERT INTO shop.t (word) VALUES ('one'), ('two')");
    await caughtUp();
    expect(await session.behindUpstream(master)).toMatchObject({ reached: true, readOnly: false });
    expect((await session.facts()).slave).toMatchObject({ sql: 'running' });
    expect((await session.facts()).slave?.master).toBeUndefined();
    // What is applied has GTIDs of ours here, for members to follow by.
    expect((await session.facts()).binlogGtid).toMatch(/^0-1-\d+$/);
  });

  it('is followed on from the place up to which was applied', async () => {
    await session.stopReceiving();
    await outside.sql("INSERT INTO shop.t (word) VALUES ('three')");
    expect((await session.behindUpstream(master)).reached).toBe(false);
    await session.followUpstream(master);
    await caughtUp();
    const sum = 'CHECKSUM TABLE shop.t EXTENDED';
    const [mine] = await session.query<{ Checksum: unknown }>(sum);
    const [theirs] = await outside.sql<{ Checksum: unknown }>(sum);
    expect(String(mine?.Checksum)).toBe(String(theirs?.Checksum));
  });

  it('is forgotten in the middle of a transaction, of which nothing stays', async () => {
    const count = await here();
    await session.query('SET GLOBAL read_binlog_speed_limit = 500');
    await outside.sql(`INSERT INTO shop.t (word) SELECT REPEAT('x', 1000000) FROM mysql.help_keyword LIMIT 20`);
    await within(30_000, 'a part has been received', async () => !(await session.behindUpstream(master)).reached);
    await session.stopReceiving();
    await within(30_000, 'what was received whole is applied', () => session.drain(2000));
    expect((await session.facts()).relayUnapplied).toBe(false);
    await session.forgetMaster();
    const facts = await session.facts();
    expect(facts.slave).toBeUndefined();
    expect(await here()).toBe(count);
    const [row] = await session.query('SELECT @@slave_exec_mode mode, @@slave_parallel_mode parallel');
    expect(row).toEqual({ mode: 'STRICT', parallel: 'optimistic' });
  });
});
