import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sleep, waitFor } from '#core/sleep.ts';
import type { BackupMarker } from '#xdb/backup/schema.ts';
import type { Verdict } from '#xdb/backup/verify.ts';
import { askRestored, type Lab, type LabNetwork, labNetwork, startLab } from './xdb-backup-lab.ts';

/** Backups of a real MariaDB, stored on a volume, restored and compared. */

let network: LabNetwork;
let lab: Lab;
let restores = 0;

beforeAll(async () => {
  network = await labNetwork();
});
afterAll(() => network?.remove());

beforeEach(async () => {
  lab = await startLab({ network });
  await lab.call('open', { url: 'volume', as: 'adb-1' });
  await lab.sql(`CREATE DATABASE app; CREATE DATABASE xcaas;
    CREATE TABLE app.notes (id INT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(200), noted TIMESTAMP(3) DEFAULT NOW(3)) ENGINE=InnoDB;
    CREATE TABLE app.blobs (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB;
    CREATE TABLE app.pairs (id INT PRIMARY KEY AUTO_INCREMENT) ENGINE=InnoDB;
    CREATE TABLE xcaas.heartbeat (id INT PRIMARY KEY, epoch INT, at TIMESTAMP(3) DEFAULT NOW(3)) ENGINE=InnoDB;`);
});
afterEach(async () => {
  await lab?.stop();
});

const folder = () => `/var/lib/xdb/restored-${++restores}`;
const id = (n: number) => `20260801-0000${String(n).padStart(2, '0')}-abcd`;
const archive = () => lab.call('archive', { role: { epoch: 1, instance: 'a' } });

async function restored(target: Record<string, unknown>, question: string): Promise<string[][]> {
  const dataDir = folder();
  await lab.exec('mkdir', dataDir);
  await lab.call('restore', { target, dataDir });
  return askRestored(lab, dataDir, question);
}

/** Writes without a pause until it is told to stop. */
function writer() {
  let stop = false;
  let count = 0;
  const ended = (async () => {
    while (!stop) {
      await lab.sql(`BEGIN; INSERT INTO app.pairs () VALUES (); INSERT INTO app.notes (body) VALUES (REPEAT('x', 150)); INSERT INTO app.pairs () VALUES (); COMMIT;
        REPLACE INTO xcaas.heartbeat (id, epoch) VALUES (1, 1); INSERT INTO app.notes (body) SELECT body FROM app.notes LIMIT 50;`);
      count += 1;
    }
  })();
  return {
    rounds: () => count,
    async stop() {
      stop = true;
      await ended;
    },
  };
}

describe('a full backup', () => {
  it('made while the database works is the database at one moment, and with the binlog behind it the database at the end', async () => {
    await lab.sql(
      'INSERT INTO app.blobs SELECT seq, REPEAT(CHAR(65 + seq % 26), 20000) FROM app.seq_1_to_200; INSERT INTO app.blobs VALUES (999, REPEAT(UUID(), 100000));',
    );
    const writing = writer();
    await waitFor(async () => (writing.rounds() > 2 ? true : undefined), { timeoutMs: 20_000 });
    const before = writing.rounds();
    const marker = await lab.call<BackupMarker>('full', { id: id(1), sums: true });
    expect(marker).toMatchObject({ id: id(1), member: 'adb-1', encrypted: true, gtid: expect.stringMatching(/^0-1-\d+$/) });
    await waitFor(async () => (writing.rounds() > before + 3 ? true : undefined), { timeoutMs: 20_000 });
    expect(writing.rounds()).toBeGreaterThan(before);
    await writing.stop();
    await archive();

    const sums = 'CHECKSUM TABLE app.notes, app.blobs, app.pairs, xcaas.heartbeat; SELECT COUNT(*) FROM app.pairs;';
    const now = await lab.sql(sums);
    expect(await restored({ kind: 'latest' }, sums)).toEqual(now);

    // Whole transactions: both rows of a pair, or none.
    const [[pairs]] = (await restored({ kind: 'backup', id: id(1) }, 'SELECT COUNT(*) FROM app.pairs;')) as [[string]];
    expect(Number(pairs) % 2).toBe(0);
    expect(Number(pairs)).toBeGreaterThan(0);
    expect(Number(pairs)).toBeLessThan(Number(now.at(-1)![0]));

    const verdict = await lab.call<Verdict>('verify', { id: id(1) });
    expect(verdict).toMatchObject({ ok: true, compared: 4 });
    expect(verdict.sentence).toMatch(/4 have the rows and checksums that they had at 0-1-\d+/);
    expect(await lab.exec('sh', '-c', 'ls /var/lib/xdb /tmp')).not.toMatch(/scratch|xv/);
  });

  it('that was called off leaves nothing', async () => {
    await lab.sql('INSERT INTO app.blobs SELECT seq, RANDOM_BYTES(1024) FROM app.seq_1_to_20000;').catch(() => undefined);
    const making = lab.call('full', { id: id(1) }).catch((error: unknown) => error);
    await sleep(300);
    await lab.call('cancel');
    expect(await making).toBeInstanceOf(Error);
    expect(await lab.call('list')).toEqual([]);
    expect(await lab.exec('find', '/var/lib/xdb-backup', '-type', 'f')).toBe('');
    // And the next one is made.
    await lab.call('full', { id: id(2) });
    expect(await lab.call('catalog')).toMatchObject({ fulls: [{ id: id(2) }] });
  });

  it('that is damaged, cut off or not the one of its marker is refused, and verification says so', async () => {
    await lab.sql('INSERT INTO app.blobs SELECT seq, REPEAT(UUID(), 500) FROM app.seq_1_to_500;');
    await lab.call('full', { id: id(1), sums: true });
    await archive();
    const file = `/var/lib/xdb-backup/full/${id(1)}/data`;
    const size = Number(await lab.exec('stat', '-c', '%s', file));
    await lab.exec('cp', file, '/tmp/good');

    await lab.exec('sh', '-c', `printf '\\377\\377\\377\\377' | dd of=${file} bs=1 seek=${Math.floor(size / 2)} conv=notrunc 2>/dev/null`);
    await expect(restored({ kind: 'backup', id: id(1) }, '')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('damaged'),
    });
    expect(await lab.call<Verdict>('verify', { id: id(1) })).toMatchObject({ ok: false, sentence: expect.stringContaining('damaged') });

    await lab.exec('truncate', '-s', String(size - 1000), file);
    expect(await lab.call('catalog')).toMatchObject({ fulls: [] });
    await expect(restored({ kind: 'backup', id: id(1) }, '')).rejects.toMatchObject({ code: 'not_found' });
    expect(await lab.call<Verdict>('verify', { id: id(1) })).toMatchObject({ ok: false, sentence: expect.stringContaining('size') });

    await lab.exec('cp', '/tmp/good', file);
    expect(await lab.call<Verdict>('verify', { id: id(1) })).toMatchObject({ ok: true });
    // Without its marker it does not exist.
    await lab.exec('rm', `/var/lib/xdb-backup/full/${id(1)}/backup.json`);
    expect(await lab.call('catalog')).toMatchObject({ fulls: [], unfinished: [{ id: id(1) }, { id: id(1) }] });
  });

  it('whose binlog lost or changed a transaction is found out by its sums', async () => {
    const writing = writer();
    await waitFor(async () => (writing.rounds() > 1 ? true : undefined), { timeoutMs: 20_000 });
    const making = lab.call<BackupMarker>('full', { id: id(1), sums: true });
    await making;
    await writing.stop();
    await archive();
    expect(await lab.call<Verdict>('verify', { id: id(1) })).toMatchObject({ ok: true, compared: 4 });
    // Sums of one table as if a row had been otherwise.
    const check = `/var/lib/xdb-backup/full/${id(1)}/check.json`;
    const text = JSON.parse(await lab.exec('cat', check)) as { tables: { table: string; checksum: string }[] };
    text.tables.find(({ table }) => table === 'notes')!.checksum = '12345';
    await lab.exec('sh', '-c', `echo '${JSON.stringify(text)}' > ${check}`);
    expect(await lab.call<Verdict>('verify', { id: id(1) })).toMatchObject({ ok: false, sentence: 'app.notes has another content' });
  });
});

describe('any second', () => {
  it('between two commits gives the first and not the second, and outside of the archive is refused', async () => {
    await lab.call('full', { id: id(1) });
    const secondOf = async (body: string) => {
      await lab.sql(`INSERT INTO app.notes (body) VALUES ('${body}');`);
      const [[at]] = (await lab.sql(`SELECT FLOOR(UNIX_TIMESTAMP(noted)) FROM app.notes WHERE body = '${body}'`)) as [[string]];
      await sleep(2100);
      return Number(at);
    };
    const one = await secondOf('one');
    const two = await secondOf('two');
    await lab.sql(
      "ALTER TABLE app.notes ADD COLUMN more INT DEFAULT 7; CREATE USER someone@'%' IDENTIFIED BY 'x'; GRANT SELECT ON app.* TO someone@'%';",
    );
    const three = await secondOf('three');
    await lab.sql('DROP TABLE app.notes;');
    await archive();

    const bodies = 'SELECT body FROM app.notes ORDER BY id;';
    const time = (seconds: number) => ({ kind: 'time', at: new Date(seconds * 1000).toISOString() });
    expect(await restored(time(one + 1), bodies)).toEqual([['one']]);
    expect(await restored(time(two), bodies)).toEqual([['one']]);
    expect(await restored(time(two + 1), bodies)).toEqual([['one'], ['two']]);
    expect(await restored(time(three + 1), "SELECT body, more FROM app.notes ORDER BY id; SHOW GRANTS FOR someone@'%';")).toEqual([
      ['one', '7'],
      ['two', '7'],
      ['three', '7'],
      [expect.stringContaining('GRANT USAGE')],
      ['GRANT SELECT ON `app`.* TO `someone`@`%`'],
    ]);
    await expect(restored({ kind: 'latest' }, bodies)).rejects.toThrow(/app.notes' doesn't exist/);

    const [[now]] = (await lab.sql('SELECT UNIX_TIMESTAMP()')) as [[string]];
    for (const seconds of [one - 3600, Number(now) + 60]) {
      await expect(restored(time(seconds), bodies)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(/can be is 20.*Z to 20.*Z/),
      });
    }
  });

  it('is there within seconds of its commit, while the archive follows', async () => {
    await lab.call('full', { id: id(1) });
    await lab.call('follow', { role: { epoch: 1, instance: 'a' }, everyMs: 1000 });
    const writing = writer();
    await sleep(8000);
    await writing.stop();
    await lab.sql("INSERT INTO app.notes (body) VALUES ('the last');");
    const [[gtid]] = (await lab.sql('SELECT @@gtid_binlog_pos')) as [[string]];
    const reached = await waitFor(
      async () => {
        const { pieces } = await lab.call<{ pieces: { last: number }[] }>('catalog');
        return pieces.some(({ last }) => last === Number(gtid.split('-')[2])) ? true : undefined;
      },
      { timeoutMs: 20_000, intervalMs: 200 },
    );
    expect(reached).toBe(true);
    await lab.call('unfollow');
    const sums = 'CHECKSUM TABLE app.notes;';
    expect(await restored({ kind: 'gtid', gtid }, sums)).toEqual(await lab.sql(sums));
  });

  it('with what binlogs can hold: many columns, large rows, unusual names and characters', async () => {
    const odd = "app.`odd ' `` name`";
    await lab.sql(`SET NAMES utf8mb4; CREATE TABLE ${odd} (id INT PRIMARY KEY, j JSON, e ENUM('a', 'ü'), g GEOMETRY, b BIT(9), d DECIMAL(30, 10),
      t TIME(6), n TEXT) CHARACTER SET utf8mb4 ENGINE=InnoDB;`);
    await lab.call('full', { id: id(1) });
    await lab.sql(`SET NAMES utf8mb4; INSERT INTO ${odd} VALUES
      (1, '{"a": [1, 2]}', 'ü', POINT(1, 2), b'101010101', 12345678901234567890.0123456789, '838:59:58.999999', 'snow ☃ and 🐬'),
      (2, NULL, NULL, NULL, NULL, NULL, NULL, '\\0 \\' " \\\\ \\n');
      INSERT INTO app.blobs VALUES (1, REPEAT(UNHEX('00FF0A0D275C'), 2500000)), (2, '');
      DELIMITER //
      CREATE PROCEDURE app.p() BEGIN DECLARE i INT DEFAULT 0; WHILE i < 3 DO INSERT INTO app.notes (body) VALUES (UUID()); SET i = i + 1; END WHILE; END //
      DELIMITER ;
      CALL app.p(); CREATE VIEW app.v AS SELECT COUNT(*) AS n FROM app.notes; CREATE SEQUENCE app.s; SELECT NEXTVAL(app.s); TRUNCATE xcaas.heartbeat;
      SET TIMESTAMP = 4102444800; INSERT INTO app.notes (body, noted) VALUES ('a lie', '2001-01-01');`);
    await archive();
    const sums =
      "CHECKSUM TABLE app.notes, app.blobs, app.`odd ' `` name`; SELECT n, HEX(n) FROM app.`odd ' `` name`; SELECT * FROM app.v; SELECT MD5(data) FROM app.blobs;";
    expect(await restored({ kind: 'latest' }, sums)).toEqual(await lab.sql(sums));
  });
});

describe('retention', () => {
  it('deletes the oldest backup and its binlog, and what is left restores', async () => {
    for (const n of [1, 2, 3]) {
      await lab.sql(`INSERT INTO app.notes (body) VALUES ('before ${n}'); FLUSH BINARY LOGS;`);
      await lab.call('full', { id: id(n) });
      await archive();
    }
    await lab.sql("INSERT INTO app.notes (body) VALUES ('at the end');");
    await archive();
    const before = await lab.call<{ pieces: unknown[] }>('catalog');
    expect(await lab.call('retain', { keep: 2 })).toMatchObject({ fulls: [id(1)] });
    const after = await lab.call<{ fulls: { id: string }[]; pieces: unknown[] }>('catalog');
    expect(after.fulls.map((full) => full.id)).toEqual([id(2), id(3)]);
    expect(after.pieces.length).toBeLessThan(before.pieces.length);
    const bodies = 'SELECT body FROM app.notes ORDER BY id;';
    expect((await restored({ kind: 'latest' }, bodies)).at(-1)).toEqual(['at the end']);
    const [[gtid]] = (await lab.sql('SELECT @@gtid_binlog_pos')) as [[string]];
    expect((await restored({ kind: 'gtid', gtid }, bodies)).length).toBe(4);
    await expect(restored({ kind: 'backup', id: id(1) }, bodies)).rejects.toMatchObject({ code: 'not_found' });
  });
});
