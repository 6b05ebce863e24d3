import mysql from 'mysql2';
import { type Address, connectToAny, type Reachable } from './addresses.ts';
import { type Session, SqlRefused } from './worker.ts';

/** Where the database is, as a client is told. */
export interface Endpoint extends Reachable {
  user: string;
  password: string;
  database: string;
  /** PEM of the CA: the connection is encrypted, and the certificate must be by that CA. `plain`: not encrypted. */
  tls: 'plain' | 'unverified' | { ca: string };
  /** For one statement; after it the connection is given up. */
  queryMs: number;
}

/** @throws AppError `unavailable` with what each address said */
export const connect = (endpoint: Endpoint, turn: number): Promise<Session> => connectToAny(endpoint, turn, (at) => open(at, endpoint));

function open({ host, port }: Address, { user, password, database, tls, connectMs, queryMs }: Endpoint): Promise<Session> {
  return new Promise((resolve, reject) => {
    const connection = mysql.createConnection({
      ...{ host, port, user, password, database, connectTimeout: connectMs, supportBigNumbers: true, bigNumberStrings: true },
      ...(tls === 'plain' ? {} : { ssl: tls === 'unverified' ? { rejectUnauthorized: false } : { ca: tls.ca } }),
    });
    // The handshake after the connection has no deadline of its own in mysql2.
    const timer = setTimeout(() => fail(new Error(`no greeting within ${connectMs} ms`)), connectMs);
    const fail = (error: Error) => {
      clearTimeout(timer);
      connection.destroy();
      reject(error);
    };
    connection.on('error', fail);
    connection.once('connect', () => {
      clearTimeout(timer);
      resolve(session(connection, queryMs));
    });
  });
}

function session(connection: mysql.Connection, queryMs: number): Session {
  let broken: Error | undefined;
  const breaks = new Set<(error: Error) => void>();
  const gone = (error: Error) => {
    broken ??= error;
    for (const waiting of breaks) waiting(broken);
    breaks.clear();
    connection.destroy();
  };
  connection.on('error', gone);
  connection.on('end', () => gone(new Error('the server ended the connection')));
  return {
    query<T>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
      return new Promise<T[]>((resolve, reject) => {
        if (broken) return reject(broken);
        const timer = setTimeout(() => gone(new Error(`no answer within ${queryMs} ms`)), queryMs);
        const settle = (action: () => void) => {
          clearTimeout(timer);
          breaks.delete(onBreak);
          action();
        };
        const onBreak = (error: Error) => settle(() => reject(error));
        breaks.add(onBreak);
        connection.query(sql, [...values], (error, result) => {
          if (error === null) return settle(() => resolve((Array.isArray(result) ? result : []) as T[]));
          settle(() => reject(isAnswer(error) ? new SqlRefused(`${error.errno}: ${error.message}`, error.errno) : error));
        });
      });
    },
    // Politely, or each one would be a warning in the engine's log; but not for long.
    close() {
      if (broken) return;
      broken = new Error('closed');
      setTimeout(() => connection.destroy(), 500).unref();
      connection.end(() => connection.destroy());
    },
  };
}

/** Errors of the server carry a state; those of the connection do not. */
function isAnswer(error: mysql.QueryError): error is mysql.QueryError & { errno: number } {
  return typeof error.errno === 'number' && error.errno > 0 && error.sqlState !== undefined && error.fatal !== true;
}
