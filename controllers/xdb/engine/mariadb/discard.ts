import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '#core/files.ts';
import { entriesOf } from './initialise.ts';

/** The relay log, and what the engine knows of the master it came from: without these it starts as the slave of nobody, with what it has applied. */
const RECEIVED = /^(relay\.(index|\d+)|relay-log\.info|master\.info)$/;

/** See `Engine.discardReceived`. */
export async function discardReceived(dataDir: string): Promise<void> {
  for (const name of await entriesOf(dataDir)) if (RECEIVED.test(name)) await rm(join(dataDir, name), { force: true });
  if ((await entriesOf(dataDir)).length > 0) await syncFolder(dataDir);
}
