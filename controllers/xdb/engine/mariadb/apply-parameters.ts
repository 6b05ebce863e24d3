import type { Parameter } from '#pool/parameters.ts';
import { defaultOf, PARAMETERS, validateParameters } from '#xdb/parameters.ts';
import type { Sql } from './sql.ts';

/** What the engine calls it once it runs. */
const VARIABLE: Readonly<Record<string, string>> = { default_time_zone: 'time_zone' };

/**
 * Brings a running engine to the parameters, as far as it takes them without a start.
 *
 * @param parameters those that differ from their defaults; all others go back to theirs
 * @returns names of those that the engine takes with its next start only
 */
export async function applyParameters(
  sql: Sql,
  parameters: Readonly<Record<string, string>>,
  memoryBytes: number,
): Promise<{ pendingRestart: string[]; changed: string[] }> {
  const wanted = validateParameters(parameters, { memoryBytes });
  const names = PARAMETERS.map(({ name }) => `'${VARIABLE[name] ?? name}'`).join(', ');
  const rows = await sql.query<{ Variable_name: string; Value: string }>(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${names})`);
  const present = new Map(rows.map(({ Variable_name, Value }) => [Variable_name.toLowerCase(), Value]));
  const pendingRestart: string[] = [];
  const changed: string[] = [];
  for (const known of PARAMETERS) {
    const now = present.get(VARIABLE[known.name] ?? known.name);
    const value = wanted[known.name] ?? defaultOf(known, memoryBytes);
    if (now === undefined || isSame(known, now, value)) continue;
    if (!known.dynamic) pendingRestart.push(known.name);
    else {
      await sql.query(`SET GLOBAL ${known.name} = ${literal(known, value)}`);
      changed.push(known.name);
    }
  }
  return { pendingRestart, changed };
}

function isSame(known: Parameter, now: string, value: string): boolean {
  switch (known.kind) {
    case 'integer':
    case 'bytes':
    case 'seconds':
    case 'decimal':
      return Number(now) === Number(value);
    case 'set':
      return [...now.split(',')].sort().join() === [...value.split(',')].sort().join();
    default:
      return now.toLowerCase() === value.toLowerCase();
  }
}

function literal(known: Parameter, value: string): string {
  return known.kind === 'integer' ||
    known.kind === 'bytes' ||
    known.kind === 'seconds' ||
    known.kind === 'decimal' ||
    known.kind === 'boolean'
    ? value
    : `'${value}'`;
}
