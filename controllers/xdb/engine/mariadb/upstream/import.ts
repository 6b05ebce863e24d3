import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '#core/errors.ts';
import type { Engine, UpstreamMaster, UpstreamPosition } from '#xdb/engine/engine.ts';
import { formatGtid, parseGtid } from '../gtid.ts';
import type { Setting } from '../options.ts';
import { errnoOf } from '../sql.ts';
import { tailOf } from '../tools.ts';
import { connectUpstream } from './inspect.ts';
import { startFile } from './start.ts';

type Import = Engine['importUpstream'];

/** Longest time that a lock on all tables of a MySQL is waited for, in seconds: meanwhile nobody writes there. */
const LOCK_SECONDS = 10;
/** Kept of the dump's beginning and end, in characters: there it says where it is of. */
const KEPT = 64 * 1024;

/**
 * A logical copy: mariadb-dump's text goes straight into the client of the engine that is filled, as of one moment of the master, which goes on meanwhile. MariaDB tells
 * that moment itself; at a MySQL it is looked up under a lock that is let go as soon as the dump has begun.
 */
export async function importUpstream(
  { programs }: Pick<Setting, 'programs'>,
  master: UpstreamMaster,
  { flavor, databases, into }: Parameters<Import>[1],
  { signal, onProgress }: Parameters<Import>[2],
): Promise<UpstreamPosition> {
  const { host, port, user, password } = master;
  const where = `${host}:${port}`;
  const held = flavor === 'mysql' ? await holdStill(master) : undefined;
  try {
    const dump = spawn(
      programs.dump,
      [
        ...['--no-defaults', `--host=${host}`, `--port=${port}`, `--user=${user}`, ...tlsOf(master)],
        ...['--single-transaction', '--skip-lock-tables', '--no-tablespaces', '--routines', '--triggers', '--events', '--hex-blob'],
        ...['--default-character-set=utf8mb4', '--max-allowed-packet=1G', '--net-buffer-length=1M'],
        ...(flavor === 'mariadb' ? ['--master-data=2', '--gtid'] : []),
        ...['--databases', ...databases],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, MYSQL_PWD: password }, signal, killSignal: 'SIGKILL' },
    );
    const client = spawn(
      programs.client,
      [
        `--defaults-file=${into}`,
        '--batch',
        '--default-character-set=utf8mb4',
        '--max-allowed-packet=1G',
        '--init-command=SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_log_bin = 0',
      ],
      { stdio: ['pipe', 'ignore', 'pipe'], signal, killSignal: 'SIGKILL' },
    );
    const said = { dump: tailOf(dump.stderr), client: tailOf(client.stderr) };
    const reader = readOver(onProgress, () => void held?.release());
    const [sent, dumped, taken] = await Promise.allSettled([
      pipeline(dump.stdout, reader.stream, client.stdin),
      endOf(dump),
      endOf(client),
    ]);
    if (signal.aborted) throw new AppError('timeout', 'the copy was called off');
    // Which of two failures is the cause and which the consequence: a client that gave up breaks the dump's pipe.
    if (taken.status === 'rejected' || taken.value !== 0) {
      throw new AppError('engine', `what ${where} holds cannot be taken: ${lastLine(said.client())}`, {
        hint: 'mend it there, or leave it out, then create this database anew',
      });
    }
    if (dumped.status === 'rejected' || dumped.value !== 0 || sent.status === 'rejected') {
      throw new AppError('engine', `the copy of ${where} broke off: ${lastLine(said.dump()) || 'its connection was lost'}`);
    }
    if (!reader.isWhole()) throw new AppError('engine', `the copy of ${where} ended before its end`);
    return held === undefined ? gtidIn(reader.text(), where) : held.position;
  } finally {
    await held?.release();
  }
}

function tlsOf({ tls, caFile }: UpstreamMaster): string[] {
  if (caFile !== undefined) return [`--ssl-ca=${caFile}`, '--skip-ssl-verify-server-cert'];
  return tls ? ['--ssl', '--skip-ssl-verify-server-cert'] : ['--skip-ssl'];
}

/** Everything passes; its beginning and end are kept. @param onBegun the dump's own view of the master stands */
function readOver(onProgress: (bytes: number) => void, onBegun: () => void) {
  let bytes = 0;
  let head = '';
  let tail = '';
  let begun = false;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (head.length < KEPT) head += chunk.toString('latin1');
      tail = (tail + chunk.toString('latin1')).slice(-KEPT);
      // mariadb-dump begins its transaction before it writes this.
      if (!begun && head.includes('\n-- Current Database:')) {
        begun = true;
        onBegun();
      }
      onProgress(bytes);
      done(null, chunk);
    },
  });
  return { stream, text: () => `${head}\n${tail}`, isWhole: () => /^-- Dump completed on /m.test(tail) };
}

/** Pure: of which moment the dump says it is. @throws AppError `engine` */
export function gtidIn(text: string, where: string): UpstreamPosition {
  const found = [...text.matchAll(/^-- SET GLOBAL gtid_slave_pos='([^']*)';$/gm)].at(-1)?.[1];
  if (found === undefined) throw new AppError('engine', `the copy of ${where} does not say of which moment it is`);
  return { gtid: formatGtid(parseGtid(found)) };
}

/** Keeps a MySQL from writing, and tells where its binlog is then. */
async function holdStill(master: UpstreamMaster): Promise<{ position: UpstreamPosition; release(): Promise<void> }> {
  const sql = await connectUpstream(master);
  try {
    await sql.query(`SET SESSION lock_wait_timeout = ${LOCK_SECONDS}`);
    await sql.query('FLUSH TABLES WITH READ LOCK');
    const [row] = await binlogStatus(sql);
    const { File: file, Position: offset } = row ?? {};
    if (file === undefined || offset === undefined)
      throw new AppError('engine', `${master.host}:${master.port} does not say where its binlog is`);
    return {
      position: { file: String(file), offset: Number(offset) },
      // The lock ends with the connection.
      release: async () => sql.close(),
    };
  } catch (error) {
    sql.close();
    throw error;
  }
}

const PARSE_ERROR = 1064;

/** MySQL has called it otherwise since 8.2, and forgotten the old word. */
export async function binlogStatus(sql: Pick<Awaited<ReturnType<typeof connectUpstream>>, 'query'>): Promise<Record<string, unknown>[]> {
  try {
    return await sql.query('SHOW BINARY LOG STATUS');
  } catch (error) {
    if (errnoOf(error) !== PARSE_ERROR) throw error;
    return sql.query('SHOW MASTER STATUS');
  }
}

/** As a copy by mariadb-backup has it (`clone.ts`); a master without GTIDs is followed from a place in its files. */
export async function beginAt({ dataDir }: Pick<Setting, 'dataDir'>, position: UpstreamPosition): Promise<void> {
  const gtid = 'gtid' in position ? position.gtid : '';
  await writeFile(join(dataDir, 'binlog.state'), gtid === '' ? '' : `${gtid.replaceAll(',', '\n')}\n`, { mode: 0o660, flush: true });
  if (!('gtid' in position)) await writeFile(startFile(dataDir), `${JSON.stringify(position)}\n`, { mode: 0o660, flush: true });
}

function endOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 400) ?? '';
}
