import { Readable } from 'node:stream';

export interface StoredObject {
  key: string;
  bytes: number;
}

/**
 * Where backups lie. Keys are paths of lower-case names with '/'. An object is there as a whole or not at all; when a write fails, nothing of it stays under
 * its key.
 *
 * All methods throw AppError: `not_found` (get of what is not there), `unavailable`, `timeout`, `forbidden`, `disk_full`, `engine` (an answer that is not
 * understood). No message holds a credential.
 */
export interface BackupStore {
  /** For messages, without credentials. */
  readonly name: string;
  /** @returns when it is durable there */
  put(key: string, content: Readable, options?: { signal?: AbortSignal }): Promise<{ bytes: number }>;
  get(key: string, options?: { signal?: AbortSignal }): Promise<Readable>;
  /** All keys that begin with `prefix`, which ends with '/', or all. */
  list(prefix: string): Promise<StoredObject[]>;
  /** It may be gone already. */
  delete(key: string): Promise<void>;
  /** Removes what writes have left that never ended: they take room, and are in no list. Only what is older than a day: others may be writing. */
  tidy(now: Date): Promise<void>;
}

/** Milliseconds after which a write that has not ended never will. */
export const ABANDONED_MS = 24 * 3_600_000;

/** For small objects. */
export async function putText(store: BackupStore, key: string, text: string): Promise<void> {
  await store.put(key, Readable.from([Buffer.from(text)]));
}

export async function getText(store: BackupStore, key: string): Promise<string> {
  const parts: Buffer[] = [];
  for await (const chunk of await store.get(key)) parts.push(chunk as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

/** The same store, seen from a folder of it. */
export function under(store: BackupStore, folder: string): BackupStore {
  const prefix = `${folder}/`;
  return {
    name: `${store.name}/${folder}`,
    put: (key, content, options) => store.put(prefix + key, content, options),
    get: (key, options) => store.get(prefix + key, options),
    list: async (inner) => (await store.list(prefix + inner)).map(({ key, bytes }) => ({ key: key.slice(prefix.length), bytes })),
    delete: (key) => store.delete(prefix + key),
    tidy: (now) => store.tidy(now),
  };
}
