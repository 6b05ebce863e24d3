import { messageOf } from '#core/errors.ts';
import { TABLES } from './tables.ts';
import { nextShape, type Shape } from './workload.ts';
import { CertainlyNot, keepWriting, type WritingDeps, type WritingOptions } from './writing.ts';

/** One connection. Each call has a deadline of its own, after which the connection is gone. */
export interface Session {
  /** @throws SqlRefused when the server said no, anything else when it said nothing */
  query<T = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  close(): void;
}

/** The server answered, and the answer is an error. */
export class SqlRefused extends Error {
  readonly errno: number;
  constructor(message: string, errno: number) {
    super(message);
    this.name = 'SqlRefused';
    this.errno = errno;
  }
}

export interface WorkerOptions extends WritingOptions {
  /** Reads the epoch, one row with `epoch`, NULL when it is not known; none: the database has no epochs. */
  epochSql: string | undefined;
}

export type WorkerDeps = Omit<WritingDeps<Session>, 'next'>;

/**
 * Answers to a COMMIT, or to a statement that commits by itself, that leave no doubt that nothing was written: read-only (1290, 1792, 1836), lock wait
 * over (1205), deadlock (1213), duplicate key (1062), no such table or database (1146, 1049), access denied (1142, 1044, 1045).
 * An interrupted (KILLed) one is not among them.
 */
const CERTAINLY_NOT = new Set([1290, 1792, 1836, 1205, 1213, 1062, 1146, 1049, 1142, 1044, 1045]);

/** Writes until stopped. */
export function runWorker(options: WorkerOptions, deps: WorkerDeps): Promise<void> {
  return keepWriting(options, {
    ...deps,
    next() {
      const shape = nextShape(deps.random);
      return {
        rows: shape.rows.length,
        chain: !shape.autocommit,
        async write(session, place) {
          const progress = { committing: false };
          const read = await write(session, { ...options, ...place, shape }, progress).catch((error: unknown) => {
            const isCertain = !progress.committing || (error instanceof SqlRefused && CERTAINLY_NOT.has(error.errno));
            throw isCertain ? new CertainlyNot(messageOf(error)) : error;
          });
          return { ...read, at: deps.now(), ...(await lastGtid(session)) };
        },
      };
    },
  });
}

interface Transaction extends WorkerOptions {
  seq: number;
  round: number;
  shape: Shape;
}

type Read = { srv?: number; ep?: number; p?: number };

/** @param progress says whether the server may have committed when this throws */
async function write(session: Session, transaction: Transaction, progress: { committing: boolean }): Promise<Read> {
  const { client, worker, seq, shape, epochSql } = transaction;
  const rows = (read: Read) => insertRows(transaction, read);
  if (shape.autocommit) {
    progress.committing = true;
    await session.query(...rows({}));
    return {};
  }
  await session.query('BEGIN');
  const read: Read = {};
  const [server] = await session.query<{ id: number | string }>('SELECT @@server_id AS id');
  read.srv = Number(server?.id);
  if (epochSql !== undefined) {
    const [epoch] = await session.query<{ epoch: number | string | null }>(epochSql);
    if (epoch != null && epoch.epoch !== null) read.ep = Number(epoch.epoch);
  }
  const [before] = await session.query<{ seq: number }>(`SELECT seq FROM ${TABLES.chains} WHERE client = ? AND worker = ? FOR UPDATE`, [
    client,
    worker,
  ]);
  read.p = Number(before?.seq ?? 0);
  await session.query(
    `INSERT INTO ${TABLES.chains} (client, worker, seq, n) VALUES (?, ?, ?, 1) ON DUPLICATE KEY UPDATE seq = VALUES(seq), n = n + 1`,
    [client, worker, seq],
  );
  await session.query(`INSERT INTO ${TABLES.keys} (client, worker, seq, round) VALUES (?, ?, ?, ?)`, [
    client,
    worker,
    seq,
    transaction.round,
  ]);
  await session.query(...rows(read));
  progress.committing = true;
  await session.query('COMMIT');
  return read;
}

function insertRows({ client, worker, seq, round, shape }: Transaction, { srv, ep }: Read): [string, unknown[]] {
  const values = shape.rows.flatMap((bytes, at) => [
    ...[client, worker, seq, at + 1, shape.rows.length, round, srv ?? null, ep ?? null],
    Buffer.alloc(bytes, `${client}/${worker}/${seq} `),
  ]);
  const tuple = '(?, ?, ?, ?, ?, ?, ?, ?, ?)';
  const columns = 'client, worker, seq, part, parts, round, server, epoch, filler';
  return [`INSERT INTO ${TABLES.rows} (${columns}) VALUES ${shape.rows.map(() => tuple).join(', ')}`, values];
}

/** Where the session's last transaction stands in the log. It was acknowledged before: a failure here changes nothing. */
async function lastGtid(session: Session): Promise<{ gtid?: string }> {
  try {
    const [row] = await session.query<{ gtid: string }>('SELECT @@last_gtid AS gtid');
    return row?.gtid ? { gtid: String(row.gtid) } : {};
  } catch {
    return {};
  }
}
