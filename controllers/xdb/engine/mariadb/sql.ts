import { createConnection, format, type QueryError } from 'mysql2';
import { AppError } from '#core/errors.ts';

/** One connection to an engine; a statement that does not end in time breaks it for good: whether it was done is then unknown (A3). */
export interface Sql {
  /** The engine's number for it. */
  readonly id: number;
  readonly closed: boolean;
  /**
   * Runs one statement, put together on this side (no prepared statements: many administrative ones cannot be prepared).
   *
   * @param timeoutMs longest time in milliseconds; the connection's default unless given
   * @returns rows with numbers of 64 bits as text; of a statement without rows, none
   * @throws AppError `engine` when the engine refuses it (see {@link errnoOf}), `timeout`, `unavailable` when the connection is gone
   */
  query<T = Record<string, unknown>>(sql: string, values?: readonly unknown[], options?: { timeoutMs?: number }): Promise<T[]>;
  /**
   * What several statements say, in one exchange: a compound statement, as the engine takes it outside of procedures too. None of them may change anything or hold
   * values that come from elsewhere.
   *
   * @throws AppError as {@link query}; the first that is refused ends all
   */
  ask<T extends readonly unknown[]>(questions: { readonly [K in keyof T]: Question<T[K]> }): Promise<T>;
  close(): void;
}

/** A statement that only reads, and what its rows mean. */
export interface Question<T> {
  text: string;
  read(rows: readonly Row[]): T;
}
export type Row = Record<string, string | number | null>;

export interface SqlOptions {
  socketPath?: string;
  host?: string;
  port?: number;
  user: string;
  password: string;
  /** PEM text of the CA that has signed the engine's certificate; without it the connection is not encrypted. */
  ca?: string;
  /** Encrypted, whoever answers: an outside server whose CA nobody has told us. */
  unverified?: boolean;
  connectTimeoutMs: number;
  queryTimeoutMs: number;
}

/** What the engine answers with when all connections are taken. */
export const TOO_MANY_CONNECTIONS = 1040;
export const ACCESS_DENIED = 1045;
export const LOCK_WAIT_TIMEOUT = 1205;
export const READ_ONLY = 1290;
export const STATEMENT_TIMEOUT = 1969;
export const INTERRUPTED = 1317;
export const NO_SUCH_THREAD = 1094;

/** The engine's number of what went wrong, undefined when it was not the engine that said so. */
export function errnoOf(error: unknown): number | undefined {
  const cause = error instanceof AppError ? error.cause : error;
  return typeof cause === 'object' && cause !== null && 'errno' in cause && typeof cause.errno === 'number' ? cause.errno : undefined;
}

/** @throws AppError `unavailable` while nobody answers, `timeout`, `engine` when it refuses the connection */
export async function openSql(options: SqlOptions): Promise<Sql> {
  const { user, password, ca, connectTimeoutMs, queryTimeoutMs } = options;
  const where = options.socketPath ?? `${options.host}:${options.port}`;
  const connection = createConnection({
    ...(options.socketPath === undefined ? { host: options.host, port: options.port } : { socketPath: options.socketPath }),
    user,
    password,
    // Members are found by address, which is in no certificate: the pool's CA and the account's password tell who it is.
    ...(ca === undefined ? {} : { ssl: { ca, rejectUnauthorized: true, verifyIdentity: false } }),
    ...(options.unverified ? { ssl: { rejectUnauthorized: false } } : {}),
    connectTimeout: connectTimeoutMs,
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    multipleStatements: false,
    charset: 'utf8mb4',
    // Nothing is prepared here; for what it may prepare, mysql2 puts half a megabyte aside for each connection.
    maxPreparedStatements: 1,
    // The engine is never given a file of this side.
    flags: ['-LOCAL_FILES'],
  });
  let broken: AppError | undefined;
  // mysql2 leaves commands without an answer when their connection is destroyed.
  const pending = new Set<(error: AppError) => void>();
  const breakWith = (error: AppError) => {
    broken ??= error;
    connection.destroy();
    for (const fail of pending) fail(broken);
  };

  /** One command with a time limit of its own: mysql2's ends the waiting, not the command, and the next answer would be that of this one. */
  function settled<T>(command: (done: Done<T>) => void, timeoutMs: number, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const over = () => {
        clearTimeout(timer);
        pending.delete(fail);
      };
      const fail = (error: AppError) => {
        over();
        reject(error);
      };
      const timer = setTimeout(
        () => breakWith(new AppError('timeout', `${what} did not end within ${timeoutMs} ms on ${where}`)),
        timeoutMs,
      );
      pending.add(fail);
      command((error, answer) => {
        if (error === null || error === undefined) {
          over();
          return resolve(answer as T);
        }
        // mysql2 hangs the whole statement on it, passwords and all.
        Object.assign(error, { sql: undefined });
        const refused = typeof error.errno === 'number' && error.sqlState !== undefined;
        const wrapped = refused
          ? new AppError('engine', `${where} refused ${what}: ${error.message}`, { cause: error })
          : new AppError('unavailable', `${where} did not answer ${what}: ${error.message}`, { cause: error });
        fail(wrapped);
        if (error.fatal || !refused) breakWith(wrapped);
      });
    });
  }

  const gone = (how: string, cause?: unknown) => breakWith(new AppError('unavailable', `the connection to ${where} ${how}`, { cause }));
  // Before anything else: without a listener an error that belongs to no command would end the process.
  connection.on('error', (error) => gone(`broke: ${error.message}`, error));
  connection.on('end', () => gone('was closed by the engine'));
  await settled<void>((done) => connection.connect(done), connectTimeoutMs, 'the connection');

  return {
    id: connection.threadId ?? 0,
    get closed() {
      return broken !== undefined;
    },
    async query<T>(sql: string, values: readonly unknown[] = [], { timeoutMs = queryTimeoutMs }: { timeoutMs?: number } = {}) {
      if (broken !== undefined) throw broken;
      const text = values.length === 0 ? sql : format(sql, values as string[]);
      const rows = await settled<unknown>((done) => connection.query(text, done), timeoutMs, firstWords(sql));
      return (Array.isArray(rows) ? rows : []) as T[];
    },
    async ask<T extends readonly unknown[]>(questions: { readonly [K in keyof T]: Question<T[K]> }) {
      if (broken !== undefined) throw broken;
      const text = `BEGIN NOT ATOMIC ${questions.map((question) => `${question.text};`).join(' ')} END`;
      const sets = await settled<unknown>((done) => connection.query(text, done), queryTimeoutMs, 'what it was asked');
      // After the rows of each comes the end of the whole.
      if (!Array.isArray(sets) || sets.length !== questions.length + 1)
        throw new AppError('engine', `${where} did not answer each of ${questions.length} statements`);
      return questions.map((question, at) => question.read(sets[at] as Row[])) as unknown as T;
    },
    close: () => gone('was closed'),
  };
}

type Done<T> = (error: QueryError | null, answer?: T) => void;

/** Says which statement it was and nothing of what it holds: passwords stand further back. */
function firstWords(sql: string): string {
  return sql.trim().split(/\s+/, 3).join(' ');
}
