import { TABLES } from './tables.ts';

/** One transaction as a member has it. */
export interface Found {
  client: string;
  worker: number;
  seq: number;
  rows: number;
  /** Rows with different parts: fewer than `rows` when some are there twice. */
  distinct: number;
  parts: number;
  server: number | undefined;
  epoch: number | undefined;
  /** It is in the table with the unique key. */
  key: boolean;
}

export interface Chain {
  client: string;
  worker: number;
  seq: number;
  n: number;
}

/** What a member holds, read while nothing is written. */
export interface MemberState {
  member: string;
  /** Of whole tables: all rows, all columns. */
  checksums: Record<string, string>;
  /** Transactions of the rounds that were asked for. */
  found: Found[];
  chains: Chain[];
  /** Rows of each earlier round, with a sum over what they are. */
  rounds: { round: number; rows: number; sum: string }[];
}

/** Runs one statement on a member's engine, in the database of the test. @returns rows of columns as text, NULL as undefined */
export type MemberSql = (sql: string) => Promise<(string | undefined)[][]>;

/** @param since the first round whose transactions are read one by one; those before are read as sums */
export async function readState(member: string, sql: MemberSql, since = 0): Promise<MemberState> {
  const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  const keys = new Set((await sql(`SELECT client, worker, seq FROM ${TABLES.keys} WHERE round >= ${since}`)).map((row) => row.join('/')));
  const rows = await sql(
    `SELECT client, worker, seq, COUNT(*), COUNT(DISTINCT part), MAX(parts), MAX(server), MAX(epoch) FROM ${TABLES.rows}
     WHERE round >= ${since} GROUP BY client, worker, seq`,
  );
  const found = rows.map(([client, worker, seq, count, distinct, parts, server, epoch]): Found => {
    const id = `${client}/${worker}/${seq}`;
    const key = keys.delete(id);
    return {
      ...{
        client: client!,
        worker: Number(worker),
        seq: Number(seq),
        rows: Number(count),
        distinct: Number(distinct),
        parts: Number(parts),
      },
      ...{ server: number(server), epoch: number(epoch), key },
    };
  });
  // Keys without rows.
  for (const id of keys) {
    const [client, worker, seq] = id.split('/');
    found.push({
      ...{ client: client!, worker: Number(worker), seq: Number(seq), rows: 0, distinct: 0, parts: 0 },
      ...{ server: undefined, epoch: undefined, key: true },
    });
  }
  const chains = (await sql(`SELECT client, worker, seq, n FROM ${TABLES.chains}`)).map(
    ([client, worker, seq, n]): Chain => ({ client: client!, worker: Number(worker), seq: Number(seq), n: Number(n) }),
  );
  const rounds = (
    await sql(
      `SELECT round, COUNT(*), SUM(CRC32(CONCAT_WS('/', client, worker, seq, part, parts))) FROM ${TABLES.rows}
       WHERE round < ${since} GROUP BY round ORDER BY round`,
    )
  ).map(([round, count, sum]) => ({ round: Number(round), rows: Number(count), sum: sum ?? '' }));
  const tables = Object.values(TABLES);
  const checksums = Object.fromEntries(
    (await sql(`CHECKSUM TABLE ${tables.join(', ')}`)).map(([table, sum]) => [table!.split('.').at(-1)!, sum ?? 'NULL']),
  );
  return { member, checksums, found, chains, rounds };
}

/** Output of `mariadb --batch --skip-column-names`: one row a line, columns between tabs, with backslashes before what is special. */
export function parseBatch(text: string): (string | undefined)[][] {
  const plain: Record<string, string> = { t: '\t', n: '\n', '0': '\0', '\\': '\\' };
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) =>
      line
        .split('\t')
        .map((column) => (column === 'NULL' ? undefined : column.replace(/\\(.)/g, (_, char: string) => plain[char] ?? char))),
    );
}
