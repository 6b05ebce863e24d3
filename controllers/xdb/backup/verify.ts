import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackupKey, unpack } from '#backup/envelope.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import type { OpenObject } from './binlog/stream.ts';
import { readCatalog, readCheck } from './catalog.ts';
import { sumTable, tablesOf } from './checks.ts';
import { applyBinlog, loadFull } from './restore.ts';
import { planRestore, type RestorePlan } from './restore-plan.ts';
import type { BackupCheck } from './schema.ts';
import { type Scratch, startScratch } from './scratch.ts';
import type { Sql } from './sql.ts';

export interface VerifyOptions {
  id: string;
  store: BackupStore;
  keyOf: (id: string) => BackupKey | undefined;
  /** Folder that is emptied before and after; room for the whole data is needed there. */
  folder: string;
  /** An engine for this data directory. */
  engineAt: (dataDir: string) => Pick<Engine, 'load'>;
  /** Short, see {@link startScratch}. */
  runDir: string;
  memoryBytes: number;
  parameters?: Readonly<Record<string, string>>;
  progress: (sentence: string) => void;
  signal: AbortSignal;
}

export interface Verdict {
  ok: boolean;
  sentence: string;
  tables: number;
  /** Tables whose rows and checksum were compared with what they were in the database. */
  compared: number;
}

/**
 * Restores a backup for real, into a folder of its own, and looks at what came out: an engine starts on it, every table passes `CHECK TABLE … EXTENDED`, and
 * where sums of the tables were taken when it was made, they are compared, after the binlog archive has brought the copy to that very transaction.
 *
 * @returns what was found; a damaged backup is a finding, not an error
 * @throws AppError when it could not be told: the store is away, the disk is full, called off
 */
export async function verifyBackup(options: VerifyOptions): Promise<Verdict> {
  const { id, store, keyOf, folder, signal } = options;
  const catalog = await readCatalog(store);
  const full = catalog.fulls.find((each) => each.id === id);
  if (full === undefined) return damaged(`there is no complete backup ${id}: its data is missing, or has not the size that was written`);
  const check = await readCheck(store, id);
  const open: OpenObject = async (key) => unpack(await store.get(key, { signal }), keyOf);
  let plan = await planRestore(catalog, { kind: 'backup', id }, open);
  let comparable = false;
  if (check !== undefined) {
    try {
      const onward = await planRestore({ ...catalog, fulls: [full] }, { kind: 'gtid', gtid: check.gtid }, open);
      [plan, comparable] = [onward, true];
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'invalid') throw error;
    }
  }
  await rm(folder, { recursive: true, force: true });
  try {
    return await examine(options, plan, comparable ? check : undefined, open);
  } catch (error) {
    if (signal.aborted) throw new AppError('timeout', 'called off', { cause: error });
    // The store's and the disk's troubles say nothing of the backup.
    if (error instanceof AppError && ['invalid', 'engine'].includes(error.code)) return damaged(error.message);
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function examine(options: VerifyOptions, plan: RestorePlan, check: BackupCheck | undefined, open: OpenObject): Promise<Verdict> {
  const { store, keyOf, folder, engineAt, runDir, memoryBytes, parameters, progress, signal } = options;
  const dataDir = join(folder, 'db');
  await mkdir(dataDir, { recursive: true, mode: 0o750 });
  progress('restoring it');
  await loadFull(store, plan.full, keyOf, engineAt(dataDir), signal);
  const scratch = await startScratch({ dataDir, runDir, memoryBytes, signal, ...(parameters ? { parameters } : {}) });
  try {
    await applyBinlog(plan, open, scratch, progress, signal);
    return await inspect(scratch, check, progress, signal);
  } finally {
    await scratch.kill();
  }
}

async function inspect(
  scratch: Scratch,
  check: BackupCheck | undefined,
  progress: (sentence: string) => void,
  signal: AbortSignal,
): Promise<Verdict> {
  const sql = await scratch.sql();
  try {
    const tables = await tablesOf(sql);
    for (const [index, { schema, table }] of tables.entries()) {
      signal.throwIfAborted();
      progress(`checking table ${index + 1} of ${tables.length}`);
      const complaint = await checkTable(sql, schema, table);
      if (complaint !== undefined) return { ...damaged(`${schema}.${table}: ${complaint}`), tables: tables.length };
    }
    const differences: string[] = [];
    for (const expected of check?.tables ?? []) {
      signal.throwIfAborted();
      const found = await sumTable(sql, expected).catch(() => undefined);
      const name = `${expected.schema}.${expected.table}`;
      if (found === undefined) differences.push(`${name} is missing`);
      else if (found.rows !== expected.rows) differences.push(`${name} has ${found.rows} rows instead of ${expected.rows}`);
      else if (found.checksum !== expected.checksum) differences.push(`${name} has another content`);
    }
    const compared = check?.tables.length ?? 0;
    if (differences.length > 0) return { ...damaged(differences.slice(0, 3).join('; ')), tables: tables.length, compared };
    return { ok: true, sentence: verdict(tables.length, compared, check), tables: tables.length, compared };
  } finally {
    sql.close();
  }
}

async function checkTable(sql: Sql, schema: string, table: string): Promise<string | undefined> {
  try {
    const rows = await sql.query<{ Msg_type: string; Msg_text: string }>('CHECK TABLE ??.?? EXTENDED', [schema, table]);
    return rows.find((row) => row.Msg_type === 'error' || (row.Msg_type === 'status' && row.Msg_text !== 'OK'))?.Msg_text;
  } catch (error) {
    return messageOf(error);
  }
}

function verdict(tables: number, compared: number, check: BackupCheck | undefined): string {
  const restored = `restored, an engine started on it, ${tables} tables are sound`;
  if (check === undefined) return `${restored}; nothing to compare them with is in the archive`;
  const left = check.skipped === 0 ? '' : ` (${check.skipped} were not counted when it was made)`;
  return `${restored}; ${compared} have the rows and checksums that they had at ${check.gtid}${left}`;
}

function damaged(sentence: string): Verdict {
  return { ok: false, sentence, tables: 0, compared: 0 };
}
