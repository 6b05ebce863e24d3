import mysql from 'mysql2/promise';
import { AppError, messageOf } from '#core/errors.ts';

/** A plain connection for work that may take long. */
export interface Sql {
  query<T = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<T[]>;
  close(): void;
}

export interface SqlOptions {
  socketPath: string;
  user: string;
  password: string;
  /** Milliseconds until it is connected. */
  timeoutMs?: number;
}

/** @throws AppError `unavailable` */
export async function connectSql({ socketPath, user, password, timeoutMs = 10_000 }: SqlOptions): Promise<Sql> {
  let connection: mysql.Connection;
  try {
    connection = await mysql.createConnection({
      socketPath,
      user,
      password,
      connectTimeout: timeoutMs,
      supportBigNumbers: true,
      bigNumberStrings: true,
      dateStrings: true,
    });
  } catch (cause) {
    throw new AppError('unavailable', `the engine at ${socketPath} cannot be asked: ${messageOf(cause)}`, { cause });
  }
  // Without a listener a connection that breaks while nobody asks would end the process.
  connection.on('error', () => undefined);
  return {
    async query<T>(text: string, values: readonly unknown[] = []) {
      try {
        const [rows] = await connection.query(text, [...values]);
        return (Array.isArray(rows) ? rows : []) as T[];
      } catch (cause) {
        throw new AppError('engine', `the engine refused: ${messageOf(cause)}`, { cause });
      }
    },
    close: () => connection.destroy(),
  };
}
