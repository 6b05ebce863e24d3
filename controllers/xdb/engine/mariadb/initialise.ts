import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { HEARTBEAT_TABLE, OWN_SCHEMA } from './names.ts';
import type { Setting } from './options.ts';
import { accountStatements } from './tools.ts';

const INSTALL_MS = 240_000;

/** Where data are made until they are whole: a folder that is found there is of a try that was not finished. */
export const unfinished = (dataDir: string): string => `${dataDir}.new`;
const discarded = (dataDir: string): string => `${dataDir}.old`;

/** Data of MariaDB stand in the data directory; what is there is whole, since it was put there by a rename. */
export async function hasData({ dataDir }: Setting): Promise<boolean> {
  const entries = await entriesOf(dataDir);
  return entries.includes('ibdata1') && entries.includes('mysql');
}

/**
 * Data without a network, without accounts but ours, without anonymous users, `root` or a test database.
 *
 * @param installMs longest time; the script and the server that it runs have ended after it, and nothing of theirs is left
 */
export async function initialise(setting: Setting, agentPassword: string, installMs = INSTALL_MS): Promise<void> {
  const { dataDir, programs, systemUser, tmpDir } = setting;
  const target = await beginData(setting);
  const sqlFile = join(tmpDir, 'initialise.sql');
  try {
    await writeFile(sqlFile, `${initialStatements(agentPassword, systemUser).join(';\n')};\n`, { mode: 0o600 });
    const args = [
      '--no-defaults',
      `--datadir=${target}`,
      '--auth-root-authentication-method=socket',
      '--skip-test-db',
      '--skip-name-resolve',
      `--extra-file=${sqlFile}`,
      '--skip-log-bin',
      '--innodb-buffer-pool-size=32M',
    ];
    const { code, stdout, stderr } = await run(programs.install, args, { timeoutMs: installMs, group: true });
    if (code !== 0 || /^ERROR:/m.test(stderr))
      throw new AppError('engine', `no database could be made: ${(stderr || stdout).trim().slice(-600)}`);
    await finishData(setting);
  } catch (error) {
    // What was killed this moment may have been making a file.
    await rm(target, { recursive: true, force: true, maxRetries: 10 });
    throw error;
  } finally {
    await rm(sqlFile, { force: true });
  }
  setting.log.info({ dataDir }, 'a new database was made');
}

/** One statement a line: the bootstrap takes no others. */
function initialStatements(agentPassword: string, systemUser: string): string[] {
  return [
    // Accounts are not known in a bootstrap before this.
    'FLUSH PRIVILEGES',
    ...accountStatements(agentPassword, systemUser),
    "DROP USER IF EXISTS 'root'@'localhost', 'mysql'@'localhost', ''@'localhost'",
    `DROP USER IF EXISTS '${systemUser}'@'localhost'`,
    "DELETE FROM mysql.proxies_priv WHERE User <> ''",
    `CREATE DATABASE ${OWN_SCHEMA} CHARACTER SET utf8mb4`,
    `CREATE TABLE ${OWN_SCHEMA}.${HEARTBEAT_TABLE} (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, epoch INT UNSIGNED NOT NULL, member VARCHAR(64) NOT NULL, at DATETIME(6) NOT NULL) ENGINE=InnoDB`,
  ];
}

/**
 * An empty folder to make data in.
 *
 * @throws AppError `conflict` when the data directory is not empty
 */
export async function beginData({ dataDir, tmpDir }: Setting): Promise<string> {
  const there = await entriesOf(dataDir);
  if (there.length > 0) {
    throw new AppError('conflict', `${dataDir} is not empty: ${there.slice(0, 3).join(', ')}`, { hint: 'nothing in it was touched' });
  }
  await mkdir(tmpDir, { recursive: true });
  const target = unfinished(dataDir);
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true, mode: 0o700 });
  return target;
}

/** Puts what was made in its place, in one step. */
export async function finishData({ dataDir }: Setting): Promise<void> {
  await rename(unfinished(dataDir), dataDir);
}

/** In one step the data are no data any more; removing them takes its time. */
export async function wipe({ dataDir }: Setting): Promise<void> {
  const old = discarded(dataDir);
  await rm(old, { recursive: true, force: true });
  await rm(unfinished(dataDir), { recursive: true, force: true });
  if ((await entriesOf(dataDir)).length > 0) await rename(dataDir, old);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await rm(old, { recursive: true, force: true });
}

/** None where the folder is not there. */
export async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
