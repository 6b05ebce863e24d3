import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { GroupTable, Peer } from '#xlb/schema.ts';
import type { Instance } from './table.ts';

/** What outlives the sidecar and the container: the tables that nginx starts with, and what Consul last said of each service. */
export interface Store {
  /** Every group's newest whole table; a damaged file is passed over for the one before it. */
  loadTables(): Promise<Map<string, GroupTable>>;
  /** @param text JSON of the `GroupTable`, as it was pushed */
  saveTable(group: string, text: string): Promise<void>;
  deleteTable(group: string): Promise<void>;
  loadService(service: string): Promise<ServiceMemory | undefined>;
  saveService(memory: ServiceMemory): Promise<void>;
  /** Forgets services that no group names any more. */
  keepServices(services: ReadonlySet<string>): Promise<void>;
}

const ServiceMemory = z.object({
  v: z.literal(1),
  service: z.string(),
  /** Milliseconds since the epoch since when Consul has said that it is empty while its instances are held. */
  emptySince: z.number().optional(),
  instances: z.array(Peer.extend({ silent: z.boolean(), unweighted: z.boolean() })),
});
export interface ServiceMemory {
  v: 1;
  service: string;
  emptySince?: number | undefined;
  instances: Instance[];
}

export function createStore({ tables, services, log }: { tables: string; services: string; log: Logger }): Store {
  const tableFile = (group: string) => join(tables, `${group}.json`);
  const serviceFile = (service: string) => join(services, `${service}.json`);

  async function readWhole<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const parsed = unseal(text, schema);
    if (parsed === undefined) log.warn({ path }, 'a saved file is damaged or of another version and is passed over');
    return parsed;
  }

  return {
    async loadTables() {
      const found = new Map<string, GroupTable>();
      await mkdir(tables, { recursive: true, mode: 0o755 });
      const names = new Set((await readdir(tables)).flatMap((file) => /^(.+?)\.json(\.prev)?$/.exec(file)?.[1] ?? []));
      for (const group of names) {
        const table = (await readWhole(tableFile(group), GroupTable)) ?? (await readWhole(`${tableFile(group)}.prev`, GroupTable));
        if (table !== undefined && table.name === group) found.set(group, table);
      }
      return found;
    },

    async saveTable(group, text) {
      await mkdir(tables, { recursive: true, mode: 0o755 });
      // A copy, not a rename: at no moment is there no whole file of the first name.
      await copyFile(tableFile(group), `${tableFile(group)}.prev`).catch(() => undefined);
      await writeFileAtomic(tableFile(group), seal(text), 0o644);
    },

    async deleteTable(group) {
      await rm(tableFile(group), { force: true });
      await rm(`${tableFile(group)}.prev`, { force: true });
    },

    async loadService(service) {
      try {
        const memory = await readWhole(serviceFile(service), ServiceMemory);
        return memory?.service === service ? memory : undefined;
      } catch (error) {
        log.warn({ service, err: messageOf(error) }, 'what Consul last said of a service cannot be read');
        return undefined;
      }
    },

    async saveService(memory) {
      await mkdir(services, { recursive: true, mode: 0o700 });
      await writeFileAtomic(serviceFile(memory.service), seal(JSON.stringify(memory)));
    },

    async keepServices(wanted) {
      await mkdir(services, { recursive: true, mode: 0o700 });
      for (const file of await readdir(services)) {
        if (file.endsWith('.json') && !wanted.has(file.slice(0, -5))) await rm(join(services, file), { force: true });
      }
    },
  };
}

/** First line: SHA-256 of all that follows it, in hex (images/xlb/README.md). */
export function seal(text: string): string {
  return `${createHash('sha256').update(text).digest('hex')}\n${text}`;
}

/** What was sealed, or undefined when a byte of it has changed or it is of another form. */
export function unseal<T>(text: string, schema: z.ZodType<T>): T | undefined {
  const body = text.slice(65);
  if (text[64] !== '\n' || createHash('sha256').update(body).digest('hex') !== text.slice(0, 64)) return undefined;
  try {
    const parsed = schema.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
