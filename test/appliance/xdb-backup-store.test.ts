import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCOUNT, type S3Server, startS3 } from '#backup/spec-lib/s3-server.ts';
import { docker, eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { type ArchiveStatus, BackupRecord, type RestoreChoice } from '#xdb/backup/schema.ts';
import { dbKeys } from '#xdb/store.ts';

/** A database that backs itself up into an object store, and is restored from there when nothing else of it is left. */

const BACKUP_KEY = { id: 'k1', secret: 'a key for tests' };
const account = { user: ACCOUNT.accessKey, secret: ACCOUNT.secretKey };
let lab: XdbLab;
let one: XdbMember;
let s3: S3Server;
let store: string;
let copy: XdbLab | undefined;

beforeAll(async () => {
  lab = await startXdbLab({
    ...{ members: ['adb-1'], spec: { role: 'single', created: '2026-08-01T00:00:00.000Z' } },
    secrets: { backupKeys: [BACKUP_KEY], store: account },
  });
  const gateway = await docker('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Gateway}}', lab.network);
  [one, s3] = await Promise.all([lab.member('adb-1'), startS3(gateway)]);
  store = `s3://${new URL(s3.endpoint).host}/${ACCOUNT.bucket}/team?region=${ACCOUNT.region}&tls=off`;
  await eventually('adb-1 takes writes', async () => (await one.local('SELECT @@read_only').catch(() => '')) === '0');
});
afterAll(async () => {
  await copy?.stop();
  await lab?.stop();
  await s3?.stop();
});

const id = (n: number) => `20260801-00000${n}-abcd`;

async function make(n: number, place: string): Promise<BackupRecord> {
  const record: BackupRecord = {
    ...{ v: 1, id: id(n), db: 'adb', kind: 'full', by: 'user', state: 'asked', created: new Date().toISOString(), bytes: 0, store: place },
  };
  await lab.consul.kv.put(dbKeys('adb').backup(record.id), JSON.stringify(record));
  await eventually('the backup is made', async () => (await read(n))?.state === 'done' || (await read(n)));
  return (await read(n))!;
}

async function read(n: number): Promise<BackupRecord | undefined> {
  const entry = await lab.consul.kv.get(dbKeys('adb').backup(id(n)), { consistent: true });
  return entry === undefined ? undefined : BackupRecord.parse(JSON.parse(entry.value));
}

async function verify(n: number): Promise<NonNullable<BackupRecord['verify']>> {
  const asked = { ...(await read(n))!, verify: { state: 'asked', time: new Date().toISOString() } };
  await lab.consul.kv.put(dbKeys('adb').backup(id(n)), JSON.stringify(asked));
  await eventually('it is verified', async () => (await read(n))?.verify?.state === 'done' || (await read(n)));
  return (await read(n))!.verify!;
}

async function archived(): Promise<void> {
  const seq = (gtid: string | undefined) => Number(gtid?.split('-')[2] ?? -1);
  const wanted = seq(await one.local('SELECT @@gtid_binlog_pos'));
  const archive = async () => ((await one.admin('GET', '/backup')).body as { archive: ArchiveStatus }).archive;
  await eventually('the archive is as far', async () => seq((await archive()).gtid) >= wanted || (await archive()));
}

describe('an object store', () => {
  it('is tried out: what is wrong with it is said before anything goes there', async () => {
    expect((await one.admin('POST', '/backup/probe', { store, account })).status).toBe(200);
    const refused = await one.admin('POST', '/backup/probe', { store, account: { ...account, secret: 'very-secret' } });
    expect(refused).toMatchObject({ status: 403, body: { error: { message: expect.stringContaining('SignatureDoesNotMatch') } } });
    expect(JSON.stringify(refused.body)).not.toContain('very-secret');
    expect(s3.objects.size).toBe(0);
  });

  it('takes backups and the archive from the moment it is the place for them; earlier ones stay where they are', async () => {
    await one.sql('CREATE TABLE adb.notes (id INT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(100))');
    await one.sql("INSERT INTO adb.notes (body) VALUES ('on the volume')");
    expect(await make(1, 'volume')).toMatchObject({ store: 'volume' });
    await lab.respec({ backup: { store, keep: 7 } });
    await one.sql("INSERT INTO adb.notes (body) VALUES ('in the store')");
    expect(await make(2, store)).toMatchObject({ store, encrypted: true });
    await archived();
    const keys = [...s3.objects.keys()];
    expect(keys).toContain(`team/adb/20260801T000000000Z/full/${id(2)}/backup.json`);
    expect(keys.some((key) => key.startsWith('team/adb/20260801T000000000Z/binlog/'))).toBe(true);
    expect(Buffer.concat([...s3.objects.values()]).includes('in the store')).toBe(false);
    expect((await one.admin('POST', '/backup/choose', { backup: id(1) })).body).toMatchObject({ store: 'volume' });
    expect((await one.admin('POST', '/backup/choose', {})).body).toMatchObject({ store, backup: id(2) });
    expect((await verify(1)).ok).toBe(true);
    expect(await verify(2)).toMatchObject({ ok: true, sentence: expect.stringMatching(/have the rows and checksums/) });
    expect(await one.logs()).not.toContain(account.secret);
  });

  it('whose content was changed is found out, by verification and by whoever restores from it', async () => {
    await one.sql("INSERT INTO adb.notes (body) VALUES ('after the backup')");
    await archived();
    const choice = (await one.admin('POST', '/backup/choose', {})).body as RestoreChoice;
    const key = `team/adb/20260801T000000000Z/full/${id(2)}/data`;
    const sound = s3.objects.get(key)!;
    const changed = Buffer.from(sound);
    changed[Math.floor(changed.length / 2)]! ^= 1;
    s3.objects.set(key, changed);
    expect(await verify(2)).toMatchObject({ ok: false });

    // Nothing but the store and the keys is left.
    await one.kill();
    copy = await startXdbLab({
      ...{ db: 'bdb', members: ['bdb-1'], beside: lab },
      secrets: { backupKeys: [{ id: 'k2', secret: 'another' }], origin: { backupKeys: [BACKUP_KEY], store: account } },
      spec: { role: 'single', database: 'adb', origin: { from: 'adb', ...choice } },
    });
    const restored = await copy.member('bdb-1');
    const status = () => restored.status().catch((error: unknown) => ({ state: 'none', sentence: String(error) }));
    await eventually('it says that the backup is damaged', async () => {
      const { state, sentence } = await status();
      return (state === 'failed' && /cannot be restored: .*(damaged|changed)/.test(sentence)) || sentence;
    });
    s3.objects.set(key, sound);
    await eventually(
      'it is restored as soon as it can be',
      async () => (await restored.local('SELECT @@read_only').catch(() => '')) === '0' || status(),
      120_000,
    );
    expect(await restored.local('SELECT body FROM adb.notes ORDER BY id')).toBe('on the volume\nin the store\nafter the backup');
  });
});
