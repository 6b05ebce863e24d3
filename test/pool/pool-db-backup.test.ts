import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWebHdfs, type WebHdfsServer } from '#backup/spec-lib/webhdfs-server.ts';
import { VERSION } from '#core/version.ts';
import { type Pool, startPool } from '#test/xcaas.ts';
import { measured, until, untilSame } from './lb-pool.ts';

/** Backups as an operator knows them: made, verified, restored to a moment before an accident, made by themselves, and left when the database is gone. */
let pool: Pool;
let hdfs: WebHdfsServer;
let place: string;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
  // On the machine below the pool: members and control reach it, and it outlives all of them.
  const gateway = pool.first.address.replace(/\.\d+$/, '.1');
  hdfs = await startWebHdfs(gateway);
  place = hdfs.endpoint.replace('http://', 'webhdfs://backup@');
});
afterAll(async () => {
  await hdfs?.stop();
  await pool?.stop();
});

interface DbJson {
  status: string;
  sentence: string;
  master: string;
  sync: string | null;
  members: { id: string; role: string; group: string; gtid: string | null }[];
  backup: {
    store: string;
    newest: { id: string; verified: boolean | null } | null;
    archive: { active: boolean; gtid: string | null; time: string | null; sentence: string } | null;
  };
}
interface BackupJson {
  id: string;
  state: string;
  by: string;
  member: string;
  store: string;
  encrypted: boolean;
  sentence: string;
  verify: { ok: boolean; sentence: string } | null;
}
interface ListJson {
  backups: BackupJson[];
  windows: { from: string; to: string }[];
  note: string;
}

const status = (name = 'adb') => pool.json<DbJson>(['db', 'status', name]);
const list = (name = 'adb') => pool.json<ListJson>(['db', 'backup', 'list', name]);
const reasons = async (name = 'adb') => (await pool.json<{ reason: string }[]>(['db', 'events', name])).map(({ reason }) => reason);
const passwordOf = async (name: string) => (await pool.json<{ password: string }>(['db', 'url', name])).password;

/** SQL through the endpoint, from a container of its own on the database's network. */
async function sql(name: string, text: string): Promise<string> {
  const url = await pool.json<{ host: string; user: string; password: string; database: string }>(['db', 'url', name]);
  const said = await pool.first.run(
    'docker',
    [
      ...['run', '--rm', '--network', 'xcaas', '-e', `MYSQL_PWD=${url.password}`, '--entrypoint', 'mariadb', `xcaas/xdb:${VERSION}`],
      ...['--protocol=TCP', `--host=${url.host}`, `--user=${url.user}`, `--database=${url.database}`, '--skip-ssl-verify-server-cert'],
      ...['--connect-timeout=5', '--batch', '--skip-column-names', '--execute', text],
    ],
    { timeoutMs: 60_000 },
  );
  return said.trimEnd();
}

async function refused(args: string[]): Promise<{ exit: number; code: string; message: string }> {
  const { code: exit, stdout } = await pool.cli([...args, '--json']);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  return { exit, code: error.code, message: error.message };
}

/** What is committed now is in the archive. */
async function archived(): Promise<void> {
  const seq = (gtid: string | null | undefined) => Number(gtid?.split('-')[2] ?? -1);
  const { members, master } = await status();
  const wanted = seq(members.find(({ id }) => id === master)?.gtid);
  await until(`the archive has reached ${wanted}`, 60, async () => {
    const { archive } = (await status()).backup;
    return archive?.active === true && seq(archive.gtid) > wanted ? true : undefined;
  });
}

describe('backups on the volumes of the members', () => {
  it('are made by the slave, and from then on the binlog is archived', async () => {
    await pool.json(['db', 'create', '-d', 'adb', '--memory', '1', '--disk', '3'], { timeoutMs: 240_000 });
    await sql('adb', "CREATE TABLE notes (id INT PRIMARY KEY, word TEXT); INSERT INTO notes VALUES (1, 'before the backup')");
    expect((await refused(['db', 'restore', 'new', '--from', 'adb'])).code).toBe('not_found');
    const { sync } = await status();
    const made = await pool.json<BackupJson>(['db', 'backup', 'create', 'adb']);
    expect(made).toMatchObject({ state: 'done', by: 'user', member: sync, store: 'volume', encrypted: true });
    expect((await status()).backup.newest).toMatchObject({ id: made.id, verified: null });
    await until('it is told as an event', 20, async () => ((await reasons()).includes('backup_made') ? true : undefined));
    await archived();
    expect((await list()).windows).toHaveLength(1);
  });

  it('are restored to the second before an accident, as a pair of its own; the first one goes on', async () => {
    await sql('adb', "INSERT INTO notes VALUES (2, 'after the backup')");
    const before = Number(await sql('adb', 'SELECT UNIX_TIMESTAMP() + 1'));
    await until('a second has passed', 10, async () => (Number(await sql('adb', 'SELECT UNIX_TIMESTAMP()')) > before ? true : undefined));
    await sql('adb', 'DROP TABLE notes');
    await archived();
    const start = performance.now();
    const at = new Date(before * 1000).toISOString();
    const restored = await pool.json<DbJson>(['db', 'restore', 'new', '--from', 'adb', '--at', at], { timeoutMs: 240_000 });
    measured('db restore to READY', performance.now() - start);
    expect(restored.status).toBe('READY');
    expect(new Set(restored.members.map(({ group }) => group)).size).toBe(2);
    expect(await sql('new', 'SELECT word FROM notes ORDER BY id')).toBe('before the backup\nafter the backup');
    await sql('new', "INSERT INTO notes VALUES (3, 'the copy is of its own')");
    expect(await passwordOf('new')).toBe(await passwordOf('adb'));
    expect(await sql('adb', 'SHOW TABLES')).toBe('');
    expect((await status('new')).backup.newest).toBeNull();
  });

  it('are refused outside of the archive, naming what can be had, before anything is made', async () => {
    const early = await refused(['db', 'restore', 'other', '--from', 'adb', '--at', '2020-01-01T00:00:00Z']);
    expect(early).toMatchObject({ exit: 2, message: expect.stringMatching(/can be is 20\S+Z to 20\S+Z/) });
    expect((await refused(['db', 'restore', 'other', '--from', 'adb', '--backup', '20200101-000000-abcd'])).exit).toBe(3);
    expect((await refused(['db', 'restore', 'adb', '--from', 'adb'])).exit).toBe(4);
    expect((await refused(['db', 'status', 'other'])).exit).toBe(3);
  });

  it('are verified by being restored', async () => {
    const seen = await pool.json<BackupJson>(['db', 'backup', 'verify', 'adb'], { timeoutMs: 240_000 });
    expect(seen.verify).toMatchObject({ ok: true, sentence: expect.stringContaining('an engine started on it') });
    expect((await status()).backup.newest?.verified).toBe(true);
    await until('it is told as an event', 20, async () => ((await reasons()).includes('backup_verified') ? true : undefined));
  });
});

describe('backups in a store of their own', () => {
  it('go there once it was tried out, and are made by schedule, as many as are to be kept', async () => {
    const nowhere = await refused(['db', 'backup', 'set', 'adb', '--to', place.replace(/:\d+$/, ':1/backups')]);
    expect(nowhere).toMatchObject({ code: 'unavailable', message: expect.stringContaining('cannot be reached') });
    expect((await status()).backup.store).toBe('volume');
    await sql('adb', "CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('outlives it')");
    const file = `/tmp/xcaas-test-place-${process.pid}`;
    await writeFile(file, `${place}/backups\n`, { mode: 0o600 });
    await pool.json(['db', 'backup', 'set', 'adb', '--to', `@${file}`, '--schedule', '* * * * *', '--keep', '1']);
    const { value: made } = await until('one is made by itself', 150, async () =>
      (await list()).backups.find(({ by, state }) => by === 'schedule' && state === 'done'),
    );
    expect(made).toMatchObject({ store: expect.stringContaining('webhdfs://'), encrypted: true });
    await until('the one before is gone with its time', 120, async () =>
      (await list()).backups.every(({ store, state }) => store !== 'volume' || state !== 'done') ? true : undefined,
    );
    await pool.json(['db', 'backup', 'set', 'adb', '--schedule', 'none']);
  });

  it('outlive their database, and are restored when it is gone for good', async () => {
    await untilSame(
      'nothing is being made, and one is kept',
      60,
      async () => (await list()).backups.map(({ state, by, sentence }) => (state === 'done' ? state : `${state} (${by}): ${sentence}`)),
      ['done'],
    );
    const { sentence } = await pool.json<{ sentence: string }>(['db', 'destroy', 'adb', '--purge', '--yes'], { timeoutMs: 120_000 });
    expect(sentence).toMatch(/1 backup in webhdfs:.* stay: db restore NEW --from adb/);
    const kept = await pool.json<{ from: string; backups: number }[]>(['db', 'backup', 'kept']);
    expect(kept).toMatchObject([{ from: expect.stringMatching(/^adb@/), backups: 1 }]);
    expect((await list()).note).toContain('adb is gone');
    const again = await pool.json<DbJson>(['db', 'restore', 'adb', '--from', 'adb', '--opt', 'role=single'], { timeoutMs: 240_000 });
    expect(again.status).toBe('READY');
    expect(await sql('adb', 'SELECT word FROM kept')).toBe('outlives it');
  });
});
