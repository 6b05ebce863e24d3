import { readFile } from 'node:fs/promises';
import { AppError } from '#core/errors.ts';
import type { UpstreamFacts, UpstreamMaster } from '#xdb/engine/engine.ts';
import { ACCESS_DENIED, errnoOf, openSql, type Sql } from '../sql.ts';
import { missingPrivileges } from './privileges.ts';
import { SYSTEM_LIST, SYSTEM_SCHEMAS } from './schemas.ts';

const CONNECT_MS = 8000;
const QUERY_MS = 15_000;
/** More than so many are not named. */
const NAMED = 20;

const ACCESS = new Set([ACCESS_DENIED, 1044, 1698]);
const HOST_NOT_ALLOWED = new Set([1130, 1129]);

/** @throws AppError `unavailable`, `forbidden`, `invalid` when it offers no encryption and `master.tls` asks for it */
export async function connectUpstream(master: UpstreamMaster, timeoutMs = CONNECT_MS): Promise<Sql> {
  const { host, port, user, password, tls, caFile } = master;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const where = `${host}:${port}`;
  try {
    const secured = ca === undefined ? { unverified: tls } : { ca };
    return await openSql({ ...{ host, port, user, password }, ...secured, connectTimeoutMs: timeoutMs, queryTimeoutMs: QUERY_MS });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== undefined && ACCESS.has(errno)) {
      throw new AppError('forbidden', `${where} refuses the user ${user}: access denied`, {
        hint: 'check user and password of master-url; special characters of a password are written as %XX',
        cause: error,
      });
    }
    if (errno !== undefined && HOST_NOT_ALLOWED.has(errno)) {
      throw new AppError('forbidden', `${where} lets nobody in from the hosts of this pool`, {
        hint: `make the account ${user}@'%', or for the addresses of the pool's hosts`,
        cause: error,
      });
    }
    if (codeOf(error) === 'HANDSHAKE_NO_SSL_SUPPORT') {
      throw new AppError('invalid', `${where} offers no encrypted connections`, {
        hint: 'set them up there, or use --opt master-tls=off',
        cause: error,
      });
    }
    if (codeOf(error) === 'AUTH_SWITCH_PLUGIN_ERROR') {
      throw new AppError('invalid', `${where} wants the user ${user} to log in by a method that is not known here`, {
        hint: 'use an account with mysql_native_password, or caching_sha2_password on MySQL',
        cause: error,
      });
    }
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  const cause = error instanceof AppError ? error.cause : error;
  return typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
}

/** Asks a server everything that decides whether it can be followed. With `tls` encryption is tried first; whether there is any stands in the answer. */
export async function inspectUpstream(master: UpstreamMaster): Promise<UpstreamFacts> {
  const { sql, tls } = await connectTrying(master);
  try {
    return await read(sql, tls);
  } catch (error) {
    if (errnoOf(error) === undefined || !(error instanceof AppError)) throw error;
    throw new AppError('invalid', `${master.host}:${master.port} does not answer what it is asked: ${error.message}`, { cause: error });
  } finally {
    sql.close();
  }
}

async function connectTrying(master: UpstreamMaster): Promise<{ sql: Sql; tls: boolean }> {
  if (!master.tls) return { sql: await connectUpstream(master), tls: false };
  try {
    return { sql: await connectUpstream(master), tls: true };
  } catch (error) {
    if (codeOf(error instanceof AppError ? error.cause : error) !== 'HANDSHAKE_NO_SSL_SUPPORT' || master.caFile !== undefined) throw error;
    return { sql: await connectUpstream({ ...master, tls: false }), tls: false };
  }
}

const VARIABLES = [
  ...['version', 'server_id', 'log_bin', 'binlog_format', 'binlog_row_value_options', 'binlog_transaction_compression'],
  ...['binlog_encryption', 'lower_case_table_names', 'read_only'],
];

async function read(sql: Sql, tls: boolean): Promise<UpstreamFacts> {
  const names = VARIABLES.map((name) => `'${name}'`).join(', ');
  const rows = await sql.query<{ Variable_name: string; Value: string }>(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${names})`);
  const values = new Map(rows.map(({ Variable_name, Value }) => [Variable_name.toLowerCase(), Value]));
  const value = (name: string) => values.get(name) ?? '';
  const isOn = (name: string) => value(name) === 'ON' || value(name) === '1';
  const flavor = /mariadb/i.test(value('version')) ? 'mariadb' : 'mysql';
  const grants = await sql.query<Record<string, string>>('SHOW GRANTS');
  const missing = missingPrivileges(
    grants.map((row) => Object.values(row)[0] ?? ''),
    flavor,
  );
  const seen = missing.includes('SELECT') ? NOTHING : await tablesOf(sql, flavor);
  return {
    flavor,
    version: value('version'),
    serverId: Number(value('server_id')),
    binlog: isOn('log_bin'),
    binlogFormat: value('binlog_format').toUpperCase(),
    unreadable: [
      ...(value('binlog_row_value_options') === '' ? [] : [`binlog_row_value_options=${value('binlog_row_value_options')}`]),
      ...(isOn('binlog_transaction_compression') ? ['binlog_transaction_compression=ON'] : []),
    ],
    tls,
    readOnly: value('read_only') !== '' && !/^(OFF|0)$/i.test(value('read_only')),
    lowerCaseTables: value('lower_case_table_names') || '0',
    missing,
    ...seen,
  };
}

const NOTHING = { databases: [], otherEngines: [], unreadableTables: [] };

async function tablesOf(
  sql: Sql,
  flavor: UpstreamFacts['flavor'],
): Promise<Pick<UpstreamFacts, 'databases' | 'otherEngines' | 'unreadableTables'>> {
  const schemas = await sql.query<{ name: string }>('SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME');
  const others = await sql.query<{ s: string; t: string; e: string }>(
    `SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, ENGINE AS e FROM information_schema.TABLES
     WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA NOT IN (${SYSTEM_LIST}) LIMIT ${NAMED}`,
  );
  // MySQL's own form of JSON stands in its binlog; MariaDB's JSON is text.
  const json =
    flavor === 'mariadb'
      ? []
      : await sql.query<{ s: string; t: string; e: string }>(
          `SELECT DISTINCT TABLE_SCHEMA AS s, TABLE_NAME AS t, DATA_TYPE AS e FROM information_schema.COLUMNS
           WHERE DATA_TYPE IN ('json', 'vector') AND TABLE_SCHEMA NOT IN (${SYSTEM_LIST}) LIMIT ${NAMED}`,
        );
  const word = ({ s, t, e }: { s: string; t: string; e: string }) => `${s}.${t} (${e})`;
  return {
    databases: schemas.map(({ name }) => name).filter((name) => !SYSTEM_SCHEMAS.includes(name.toLowerCase())),
    otherEngines: others.map(word),
    unreadableTables: json.map(word),
  };
}
