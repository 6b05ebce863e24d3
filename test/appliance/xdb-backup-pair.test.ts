import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { type ArchiveStatus, BackupRecord, type RestoreChoice } from '#xdb/backup/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** A pair that backs itself up on its members' volumes, goes through a failover, and is restored as another database. */

const BACKUP_KEY = { id: 'k1', secret: 'a key for tests' };
let lab: XdbLab;
let one: XdbMember;
let two: XdbMember;
let copy: XdbLab | undefined;

beforeAll(async () => {
  lab = await startXdbLab({ spec: { created: '2026-08-01T00:00:00.000Z' }, secrets: { backupKeys: [BACKUP_KEY] } });
  [one, two] = await Promise.all([lab.member('adb-1'), lab.member('adb-2')]);
  await eventually('adb-2 is the sync slave', async () => (await lab.sync())?.sync?.id === 'adb-2');
});
afterAll(async () => {
  await copy?.stop();
  await lab?.stop();
});

const id = (n: number) => `20260801-00000${n}-abcd`;

async function ask(n: number, more: Partial<BackupRecord> = {}): Promise<void> {
  const record: BackupRecord = {
    ...{
      v: 1,
      id: id(n),
      db: 'adb',
      kind: 'full',
      by: 'user',
      state: 'asked',
      created: new Date().toISOString(),
      bytes: 0,
      store: 'volume',
    },
    ...more,
  };
  await lab.consul.kv.put(dbKeys('adb').backup(record.id), JSON.stringify(record));
}

async function record(n: number): Promise<BackupRecord | undefined> {
  const entry = await lab.consul.kv.get(dbKeys('adb').backup(id(n)), { consistent: true });
  return entry === undefined ? undefined : BackupRecord.parse(JSON.parse(entry.value));
}

const archive = async (member: XdbMember) => ((await member.admin('GET', '/backup')).body as { archive: ArchiveStatus }).archive;
const seqOf = (gtid: string | undefined) => Number(gtid?.split('-')[2] ?? -1);
const position = async (member: XdbMember) => seqOf(await member.local('SELECT @@gtid_binlog_pos'));

/** Both have archived what is there now. */
async function archived(...members: XdbMember[]): Promise<void> {
  for (const member of members) {
    const wanted = await position(member);
    await eventually(
      `${member.id} has archived ${wanted}`,
      async () => seqOf((await archive(member)).gtid) >= wanted || (await archive(member)),
    );
  }
}

describe('backups of a pair', () => {
  it('are made by the slave, and from then on both archive their binlogs', async () => {
    await one.sql('CREATE TABLE adb.notes (id INT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(100), noted TIMESTAMP(3) DEFAULT NOW(3))');
    await one.sql("INSERT INTO adb.notes (body) VALUES ('before the backup')");
    expect(await archive(one)).toMatchObject({ active: false, sentence: 'there is no full backup yet' });
    await ask(1);
    await eventually('the backup is made', async () => (await record(1))?.state === 'done' || (await record(1)));
    expect(await record(1)).toMatchObject({ member: 'adb-2', encrypted: true, store: 'volume', history: '20260801T000000000Z' });
    await archived(one, two);
    expect(await archive(one)).toMatchObject({ active: true, sentence: 'it follows the binlog' });
  });

  it('are verified where they are, against what the database had', async () => {
    const made = (await record(1))!;
    await lab.consul.kv.put(
      dbKeys('adb').backup(id(1)),
      JSON.stringify({ ...made, verify: { state: 'asked', time: new Date().toISOString() } }),
    );
    await eventually('it is verified', async () => (await record(1))?.verify?.state === 'done' || (await record(1)));
    expect((await record(1))!.verify).toMatchObject({
      ok: true,
      member: 'adb-2',
      sentence: expect.stringMatching(/have the rows and checksums/),
    });
  });

  it('reach over a failover, to any second of either master', async () => {
    await one.sql("INSERT INTO adb.notes (body) VALUES ('first master')");
    await archived(one);
    await one.kill();
    await eventually('adb-2 leads and takes writes', async () => {
      const sync = await lab.sync();
      if (sync?.leader.id !== 'adb-2' || sync.state !== 'open') return sync;
      await two.sql("INSERT INTO adb.notes (body) VALUES ('second master')");
      return true;
    });
    const [{ at } = { at: 0 }] = await two.sql<{ at: number }>(
      "SELECT FLOOR(UNIX_TIMESTAMP(MAX(noted))) + 1 AS at FROM adb.notes WHERE body = 'second master'",
    );
    await sleep(2000);
    await two.sql('DROP TABLE adb.notes');
    await archived(two);
    await one.start();
    const chosen = await two.admin('POST', '/backup/choose', { at: new Date(Number(at) * 1000).toISOString() });
    expect(chosen).toMatchObject({ status: 200, body: { backup: id(1), store: 'volume' } });

    const choice = chosen.body as RestoreChoice;
    const peerSecret = createHmac('sha256', lab.credentials.agent).update('xdb peer').digest('hex');
    copy = await startXdbLab({
      ...{
        db: 'bdb',
        members: ['bdb-1'],
        beside: lab,
        secrets: { backupKeys: [BACKUP_KEY], origin: { peerSecret, backupKeys: [BACKUP_KEY] } },
      },
      spec: { role: 'single', origin: { from: 'adb', ...choice } },
    });
    const restored = await copy.member('bdb-1');
    await eventually('bdb leads and answers', async () => {
      const rows = await restored.local('SELECT body FROM adb.notes ORDER BY id').catch(() => '');
      return (
        rows.startsWith('before the backup\nfirst master\nsecond master') ||
        (await restored.status().catch((error: unknown) => String(error)))
      );
    });
    await eventually('bdb takes writes', async () => (await restored.local('SELECT @@read_only')) === '0');
    // Nothing of the other database's own, and its numbering goes on.
    expect(await restored.local("SELECT COUNT(*) FROM mysql.global_priv WHERE user LIKE 'repl\\_adb%'")).toBe('0');
    expect(seqOf(await restored.local('SELECT @@gtid_binlog_pos'))).toBeGreaterThan(seqOf(choice.gtid));
    expect(await restored.local('SELECT GROUP_CONCAT(DISTINCT member) FROM xcaas.heartbeat')).toBe('bdb-1');
  });

  it('outside of the archive are refused with what can be had', async () => {
    const refused = await two.admin('POST', '/backup/choose', { at: '2020-01-01T00:00:00Z' });
    expect(refused).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid', message: expect.stringMatching(/can be is 20.*Z to 20.*Z/) } },
    });
    expect(await two.admin('POST', '/backup/choose', { backup: id(7) })).toMatchObject({ status: 404 });
    expect((await two.admin('GET', '/backup/windows')).body).toMatchObject({
      windows: [{ from: expect.any(Number), to: expect.any(Number) }],
    });
  });

  it('are deleted by whom they lie with', async () => {
    await ask(2);
    await eventually('another one is made', async () => (await record(2))?.state === 'done' || (await record(2)));
    await lab.consul.kv.put(dbKeys('adb').backup(id(1)), JSON.stringify({ ...(await record(1))!, deleting: new Date().toISOString() }));
    await eventually('the first one is gone', async () => (await record(1)) === undefined);
    const { stdout } = await two.exec('sh', '-c', 'ls /var/lib/xdb-backup/adb/*/full');
    expect(stdout).not.toContain(id(1));
  });
});
