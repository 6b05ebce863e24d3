import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError } from '#core/errors.ts';
import type { Gtid } from '#xdb/engine/engine.ts';
import { formatGtid, parseGtid } from './gtid.ts';
import { beginData, finishData } from './initialise.ts';
import { AGENT } from './names.ts';
import type { Setting } from './options.ts';
import { ended, startTool, tailOf } from './tools.ts';

/** What mariadb-backup says last when all is well; its exit code alone has been wrong (MDEV-38562). */
const COMPLETE = /completed OK!$/;
const INFO_FILES = ['mariadb_backup_binlog_info', 'xtrabackup_binlog_info'];

/**
 * Streams a copy of a running engine's data. `to` is not ended: whoever gave it ends it when this has returned, so that a copy that broke off cannot look like one that
 * came to its end.
 *
 * @throws AppError `engine` when the copy is not complete
 */
export async function dump(setting: Setting, to: NodeJS.WritableStream, signal: AbortSignal): Promise<{ gtid: Gtid }> {
  const { programs, defaultsFile, dataDir, socketPath, tmpDir } = setting;
  const scratch = await mkdtemp(join(tmpDir, 'dump-'));
  try {
    const args = [
      `--defaults-file=${defaultsFile}`,
      '--backup',
      '--stream=mbstream',
      `--datadir=${dataDir}`,
      `--target-dir=${scratch}`,
      `--socket=${socketPath}`,
      `--user=${AGENT}`,
    ];
    const child = startTool(programs.backup, args, 'out', signal);
    const said = tailOf(child.stderr!);
    const sending = writeAll(child.stdout!, to).catch((error) => {
      child.kill('SIGKILL');
      throw error;
    });
    await Promise.all([sending, ended(child, 'mariadb-backup', said)]);
    // The last one: the position is told only after the lock that it was read under.
    const gtid = [...said().matchAll(/GTID of the last change '([^']*)'/g)].at(-1)?.[1];
    if (!COMPLETE.test(said()) || gtid === undefined) throw new AppError('engine', `the copy is not complete: ${said().slice(-600)}`);
    return { gtid: formatGtid(parseGtid(gtid)) };
  } catch (error) {
    throw signal.aborted ? calledOff(error) : error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * Fills the empty data directory from such a stream. It has data only once everything is there and prepared; until then they stand beside it.
 *
 * @throws AppError `conflict` when it is not empty, `engine` when the copy is not whole
 */
export async function load(setting: Setting, from: NodeJS.ReadableStream, signal: AbortSignal): Promise<{ gtid: Gtid }> {
  const { programs } = setting;
  const target = await beginData(setting);
  try {
    const extract = startTool(programs.unstream, ['-x', '-C', target], 'in', signal);
    const said = tailOf(extract.stderr!);
    await Promise.all([pipeline(from, extract.stdin!, { signal }), ended(extract, 'mbstream', said)]);
    const gtid = await positionOf(target);
    const prepare = startTool(programs.backup, ['--no-defaults', '--prepare', `--target-dir=${target}`], 'none', signal);
    const prepared = tailOf(prepare.stderr!);
    await ended(prepare, 'mariadb-backup --prepare', prepared);
    if (!COMPLETE.test(prepared())) throw new AppError('engine', `the copy could not be prepared: ${prepared().slice(-600)}`);
    // A new binlog begins there: without it the copy would not know what it has, and could not serve others from there.
    await writeFile(join(target, 'binlog.state'), gtid === '' ? '' : `${gtid.replaceAll(',', '\n')}\n`, { mode: 0o660, flush: true });
    signal.throwIfAborted();
    await finishData(setting);
    return { gtid };
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw signal.aborted ? calledOff(error) : error;
  }
}

/** Each piece is taken before the next is read, and the last one before this returns; `to` stays open. */
async function writeAll(from: NodeJS.ReadableStream, to: NodeJS.WritableStream): Promise<void> {
  let failed: (error: Error) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => {
    failed = reject;
  });
  broken.catch(() => undefined);
  const closed = () => failed(new AppError('unavailable', 'the receiver of the copy is gone'));
  to.once('error', failed);
  to.once('close', closed);
  try {
    for await (const chunk of from) {
      const written = new Promise<void>((resolve, reject) => {
        to.write(chunk, (error) => (error ? reject(error) : resolve()));
      });
      await Promise.race([written, broken]);
    }
  } finally {
    to.off('error', failed);
    to.off('close', closed);
  }
}

function calledOff(cause: unknown): AppError {
  return new AppError('timeout', 'the copy was called off', { cause });
}

/** Of the moment the copy is of. */
async function positionOf(folder: string): Promise<Gtid> {
  for (const file of INFO_FILES) {
    const text = await readFile(join(folder, file), 'utf8').catch(() => undefined);
    if (text !== undefined) return formatGtid(parseGtid(text.trim().split('\t')[2] ?? ''));
  }
  throw new AppError('engine', 'the copy does not say of which moment it is', { hint: 'its source has no binlog' });
}
