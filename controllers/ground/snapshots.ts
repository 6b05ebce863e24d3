import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import cron from 'node-cron';
import { AppError, messageOf } from '#core/errors.ts';
import { writeFileAtomic } from '#core/files.ts';
import { httpRequest } from '#core/http.ts';
import type { Logger } from '#core/log.ts';

export interface SnapshotOptions {
  /** Socket of the host's Consul, and a token that may write ACLs: a snapshot holds them. */
  socketPath: string;
  token: string;
  /** Folder of the snapshots, 0700: they hold every record and, hashed or sealed, every secret. */
  folder: string;
  /** How many are kept; a day's worth when not given. */
  keep?: number;
  now?: () => Date;
}

const FORM = /^consul-\d{8}T\d{6}Z\.snap$/;
const TIMEOUT_MS = 60_000;

/**
 * Writes a snapshot of all that Consul holds, as `consul snapshot restore` reads it, and removes the oldest beyond `keep`.
 *
 * @returns the file's path
 * @throws AppError `unavailable`, `forbidden`, `disk_full`
 */
export async function takeSnapshot({ socketPath, token, folder, keep = 24, now = () => new Date() }: SnapshotOptions): Promise<string> {
  const answer = await httpRequest({
    socketPath,
    method: 'GET',
    path: '/v1/snapshot',
    headers: { 'x-consul-token': token },
    timeoutMs: TIMEOUT_MS,
    maxBytes: 2 ** 30,
  });
  if (answer.status === 403) throw new AppError('forbidden', 'the token of this program may not take a snapshot of Consul');
  if (answer.status !== 200) throw new AppError('unavailable', `Consul gave no snapshot: ${answer.body.toString('utf8').slice(0, 200)}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `consul-${now().toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '')}.snap`);
  await writeFileAtomic(path, answer.body, 0o600);
  const all = (await readdir(folder)).filter((file) => FORM.test(file)).sort();
  for (const old of all.slice(0, Math.max(0, all.length - keep))) await rm(join(folder, old), { force: true });
  return path;
}

/** Takes one every hour on every manager, each at a minute of its own. @returns what ends it */
export function scheduleSnapshots(options: SnapshotOptions, log: Logger, minute: number = Math.floor(Math.random() * 60)): () => void {
  const task = cron.schedule(`${minute} * * * *`, async () => {
    try {
      log.info({ path: await takeSnapshot(options) }, 'a snapshot of Consul was written');
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'no snapshot of Consul could be written');
    }
  });
  return () => void task.stop();
}
