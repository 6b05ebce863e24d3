import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { TcpConfig, TcpTable } from '#tcp/schema.ts';

/** The last known good configuration and tables on disk: each with a checksum, in two generations. */
export interface Store {
  loadConfig(): Promise<TcpConfig | undefined>;
  saveConfig(config: TcpConfig): Promise<void>;
  loadTables(): Promise<TcpTable[]>;
  saveTable(table: TcpTable): Promise<void>;
  removeTable(backend: string): Promise<void>;
}

const Envelope = z.object({ sha256: z.string(), value: z.unknown() });
const TABLE_FILE = /^([a-z0-9-]+)\.json(?:\.prev)?$/;

/**
 * @param dir made when it is not there; holds `config.json` and `tables/<backend>.json`, each perhaps with a `.prev` beside it
 */
export function createStore({ dir, log }: { dir: string; log: Logger }): Store {
  const configFile = join(dir, 'config.json');
  const tablesDir = join(dir, 'tables');
  const tableFile = (backend: string) => join(tablesDir, `${backend}.json`);

  async function read<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const value = open(text, schema);
    if (value === undefined) log.warn({ path }, 'a saved file is damaged and is not used');
    return value;
  }

  async function load<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    return (await read(path, schema)) ?? (await read(`${path}.prev`, schema));
  }

  /** Files that this process has written whole. */
  const whole = new Set<string>();

  async function save<T>(path: string, schema: z.ZodType<T>, value: T): Promise<void> {
    const known = whole.delete(path);
    if (!known) await mkdir(tablesDir, { recursive: true });
    // A damaged file must not take the place of the good one before it.
    if (known || (await read(path, schema)) !== undefined) await rename(path, `${path}.prev`);
    await writeFileAtomic(path, seal(value));
    whole.add(path);
  }

  return {
    loadConfig: () => load(configFile, TcpConfig),
    saveConfig: (config) => save(configFile, TcpConfig, config),
    async loadTables() {
      await mkdir(tablesDir, { recursive: true });
      const backends = new Set((await readdir(tablesDir)).flatMap((file) => TABLE_FILE.exec(file)?.[1] ?? []));
      const tables = await Promise.all([...backends].sort().map((backend) => load(tableFile(backend), TcpTable)));
      return tables.filter((table) => table !== undefined);
    },
    saveTable: (table) => save(tableFile(table.backend), TcpTable, table),
    async removeTable(backend) {
      whole.delete(tableFile(backend));
      await rm(tableFile(backend), { force: true });
      await rm(`${tableFile(backend)}.prev`, { force: true });
    },
  };
}

function seal(value: unknown): string {
  return JSON.stringify({ sha256: checksum(value), value });
}

function open<T>(text: string, schema: z.ZodType<T>): T | undefined {
  try {
    const { sha256, value } = Envelope.parse(JSON.parse(text));
    return sha256 === checksum(value) ? schema.parse(value) : undefined;
  } catch {
    return undefined;
  }
}

function checksum(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
