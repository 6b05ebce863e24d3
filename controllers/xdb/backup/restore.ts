import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { type BackupKey, unpack } from '#backup/envelope.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { binlogOf, type OpenObject } from './binlog/stream.ts';
import { fullKeys, readCatalog } from './catalog.ts';
import { formatPosition, samePosition } from './position.ts';
import { replay } from './replay.ts';
import { planRestore, type RestorePlan, type RestoreTarget } from './restore-plan.ts';
import type { BackupMarker } from './schema.ts';
import { type Scratch, type ScratchOptions, startScratch } from './scratch.ts';

export interface RestoreOptions {
  store: BackupStore;
  keyOf: (id: string) => BackupKey | undefined;
  target: RestoreTarget;
  /** Engine of an empty data directory. */
  engine: Pick<Engine, 'load'>;
  scratch: Omit<ScratchOptions, 'signal'>;
  /** Called with each step as it begins. */
  progress: (sentence: string) => void;
  /** What is to be done to the restored data, before anybody else sees it. */
  finish: (scratch: Scratch) => Promise<void>;
  signal: AbortSignal;
}

export interface Restored {
  backup: string;
  gtid: string;
  warning: string | undefined;
}

/**
 * Fills an empty data directory from a full backup, brings it forward by the binlog archive to the target, and leaves it stopped in good order.
 *
 * When it throws, the data directory holds nothing that may be used: the caller wipes it.
 *
 * @throws AppError `not_found`, `invalid` (outside of the archive, or damaged), `engine`
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { store, keyOf, target, engine, scratch: scratchOptions, progress, finish, signal } = options;
  const open: OpenObject = async (key) => unpack(await store.get(key, { signal }), keyOf);
  const plan = await planRestore(await readCatalog(store), target, open);
  progress(`loading the backup ${plan.full.id} (${plan.full.bytes} bytes)`);
  await loadFull(store, plan.full, keyOf, engine, signal);
  const scratch = await startScratch({ ...scratchOptions, signal });
  try {
    await applyBinlog(plan, open, scratch, progress, signal);
    await finish(scratch);
    progress('stopping the engine in good order');
    await scratch.stop();
  } catch (error) {
    await scratch.kill();
    throw error;
  }
  await beginBinlogAt(scratchOptions.dataDir, plan);
  return { backup: plan.full.id, gtid: formatPosition(plan.upTo) || plan.full.gtid, warning: plan.warning };
}

/** The engine's first binlog goes on in the numbering of the data, as after a copy (`engine/mariadb/clone.ts`). */
async function beginBinlogAt(dataDir: string, plan: RestorePlan): Promise<void> {
  const gtid = formatPosition(plan.upTo) || plan.full.gtid;
  await writeFile(join(dataDir, 'binlog.state'), gtid === '' ? '' : `${gtid.replaceAll(',', '\n')}\n`, { mode: 0o660, flush: true });
}

/** @throws AppError `invalid` when the stored object is not what was written, found out at its end at the latest */
export async function loadFull(
  store: BackupStore,
  full: BackupMarker,
  keyOf: (id: string) => BackupKey | undefined,
  engine: Pick<Engine, 'load'>,
  signal: AbortSignal,
): Promise<void> {
  const stored = await store.get(fullKeys(full.id).data, { signal });
  const checked = stored.pipe(comparing(full));
  stored.on('error', (error) => checked.destroy(error));
  const content = await unpack(checked, keyOf);
  // Told by what reads them, while something does; after that it is of no use to anybody, and would end the program.
  for (const each of [checked, content]) each.on('error', () => undefined);
  let gtid: string;
  try {
    ({ gtid } = await engine.load(content, { signal }));
  } catch (error) {
    // Which of two failures is the cause and which the consequence: a damaged object is one.
    throw content.errored ?? checked.errored ?? error;
  } finally {
    stored.destroy();
  }
  if (!checked.readableEnded) throw new AppError('invalid', `the backup ${full.id} holds more than was read of it`);
  if (gtid !== full.gtid) {
    throw new AppError('invalid', `the backup ${full.id} says that it is as of ${full.gtid}, and its data is as of ${gtid}`);
  }
}

export async function applyBinlog(
  plan: RestorePlan,
  open: OpenObject,
  scratch: Scratch,
  progress: (sentence: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (samePosition(plan.from, plan.upTo)) return;
  progress(`applying the binlog from ${formatPosition(plan.from)} to ${formatPosition(plan.upTo)}`);
  await replay(Readable.from(binlogOf(plan.links, plan.from, plan.upTo, open), { objectMode: false }), scratch, signal);
}

/** Lets everything pass and fails at the end when it was not the object that the marker names. */
function comparing({ id, sha256, bytes }: BackupMarker): Transform {
  const hash = createHash('sha256');
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      seen += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      if (seen === bytes && hash.digest('hex') === sha256) return done();
      const what = seen === bytes ? 'its content was changed' : `it has ${seen} bytes of ${bytes}`;
      done(new AppError('invalid', `the backup ${id} is damaged: ${what}`, { hint: 'restore from another one: db backup list NAME' }));
    },
  });
}
