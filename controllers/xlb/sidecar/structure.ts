import { lstat, mkdir, open, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, messageOf, systemCode, toAppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import type { Generation } from './nginx-client.ts';
import type { Rendered } from './render.ts';

/**
 * Generations of nginx's configuration on disk: a folder each, and two links. `current` is what nginx reads when it starts or reloads, `last-good` what it was
 * last seen to run with. Both are replaced by a rename, so there is no moment without a whole file.
 */
export interface Structure {
  /**
   * Brings nginx to a configuration: written, tested by nginx itself, swapped, reloaded, and seen to be live on every worker. Not to be called twice at once.
   *
   * @throws AppError `config_rejected` when nginx refuses it, `disk_full`, `engine`, `timeout`; nginx then runs with what it had, and `current` says so
   */
  apply(rendered: Rendered, workers: number): Promise<'unchanged' | 'reloaded' | 'staged'>;
  /** Milliseconds until a reload is allowed; 0 = now. */
  holdOffMs(oldWorkers: number, workers: number): number;
  /** The generation that nginx starts with, or undefined before the first one. */
  current(): Promise<string | undefined>;
}

export interface StructureOptions {
  /** `/var/lib/xlb/nginx` */
  folder: string;
  /** @returns what is wrong with the file, or undefined */
  test(path: string): Promise<string | undefined>;
  /** Tells the running nginx to read its configuration again. @throws AppError `unavailable` when none runs */
  reload(): Promise<void>;
  generation(): Promise<Generation>;
  log: Logger;
  now?: () => number;
  /** How long new workers may take to come up, in milliseconds. */
  verifyMs?: number;
}

/** Least time between two reloads, in milliseconds, while no worker of an earlier structure lives. */
export const RELOAD_GAP_MS = 2000;
/** Longest time between two reloads however many old workers there are, in milliseconds. */
export const MAX_RELOAD_GAP_MS = 300_000;

/** Answers of new workers in a row, and the time between two, in milliseconds: longer than the 100 ms that nginx leaves to old workers (its source). */
const PROOFS = 5;
const PROOF_GAP_MS = 40;

export function createStructure(options: StructureOptions): Structure {
  const { folder, test, reload, generation, log, now = () => performance.now(), verifyMs = 15_000 } = options;
  let reloadedAt = Number.NEGATIVE_INFINITY;

  const folderOf = (name: string) => `gen-${name}`;

  async function current(): Promise<string | undefined> {
    return generationIn(await linkTarget(join(folder, 'current')));
  }

  async function apply(rendered: Rendered, workers: number): Promise<'unchanged' | 'reloaded' | 'staged'> {
    const running = await generation().catch(() => undefined);
    const before = await linkTarget(join(folder, 'current'));
    if (running?.generation === rendered.generation && generationIn(before) === rendered.generation) {
      await markGood(rendered.generation);
      return 'unchanged';
    }
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await stage(rendered);
    await point('current', folderOf(rendered.generation));
    if (running === undefined) return 'staged';
    try {
      reloadedAt = now();
      await reload();
      await verify(rendered.generation, workers);
    } catch (error) {
      await rollBack(before, running.generation, workers);
      throw error;
    }
    await markGood(rendered.generation);
    return 'reloaded';
  }

  /** Writes and tests the folder of a generation. Nothing that nginx reads has been touched when this throws. */
  async function stage({ generation: name, text }: Rendered): Promise<void> {
    const final = join(folder, folderOf(name));
    const draft = join(folder, `draft-${process.pid}`);
    await rm(draft, { recursive: true, force: true });
    try {
      await mkdir(draft, { mode: 0o755 });
      await writeFileAtomic(join(draft, 'nginx.conf'), text, 0o644);
      const wrong = await test(join(draft, 'nginx.conf'));
      if (wrong !== undefined) throw new AppError('config_rejected', `nginx refuses the configuration: ${wrong}`);
      if ((await readIfThere(join(final, 'nginx.conf'))) !== text) {
        await rm(final, { recursive: true, force: true });
        await rename(draft, final);
        await syncFolder(folder);
      }
    } catch (error) {
      throw systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
        ? new AppError('disk_full', `the disk of the load balancer's data is full, so the new configuration could not be written`, {
            cause: error,
          })
        : toAppError(error);
    } finally {
      await rm(draft, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /**
   * Waits until every worker that takes requests was started with the generation. nginx tells its old workers to leave a moment after the new ones came up,
   * and until then either may answer: only answers of new ones alone, for a while, are proof.
   */
  async function verify(name: string, workers: number): Promise<void> {
    const end = now() + verifyMs;
    let seen: Generation | undefined;
    let proofs = 0;
    while (now() < end) {
      seen = await generation().catch(() => undefined);
      proofs = seen?.generation === name && seen.workers >= workers ? proofs + 1 : 0;
      if (proofs >= PROOFS) return;
      await sleep(PROOF_GAP_MS);
    }
    throw new AppError('engine', `nginx did not take the new configuration within ${verifyMs / 1000} s`, {
      hint: 'its log says why, e.g. a port that something else has',
      cause: seen,
    });
  }

  /** @param before what `current` led to: a generation, or the folder that the image's supervisor starts nginx with when there is none */
  async function rollBack(before: string | undefined, running: string, workers: number): Promise<void> {
    // What ran before this attempt is better known than what the link said.
    const target = (await exists(running)) ? folderOf(running) : before;
    if (target === undefined) return;
    log.warn({ folder: target }, 'going back to the last good configuration');
    await point('current', target);
    const seen = await generation().catch(() => undefined);
    if (seen?.generation === running && seen.workers >= workers) return;
    await reload().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'nginx could not be told to go back'));
  }

  async function markGood(name: string): Promise<void> {
    if (generationIn(await linkTarget(join(folder, 'last-good'))) === name) return;
    await point('last-good', folderOf(name));
    for (const entry of await readdir(folder)) {
      if (/^(gen|draft)-/.test(entry) && entry !== folderOf(name)) await rm(join(folder, entry), { recursive: true, force: true });
    }
  }

  async function point(link: 'current' | 'last-good', target: string): Promise<void> {
    const temporary = join(folder, `.${link}.${process.pid}`);
    await rm(temporary, { force: true });
    await symlink(target, temporary);
    await rename(temporary, join(folder, link));
    await syncFolder(folder);
  }

  async function exists(name: string): Promise<boolean> {
    return (await lstat(join(folder, folderOf(name), 'nginx.conf')).catch(() => undefined)) !== undefined;
  }

  return {
    apply,
    current,
    holdOffMs(oldWorkers, workers) {
      // Each earlier structure with connections keeps as many workers as the present one has, with their memory: the more there are, the longer the pause.
      const earlier = Math.ceil(oldWorkers / Math.max(1, workers));
      const gap = Math.min(MAX_RELOAD_GAP_MS, RELOAD_GAP_MS * 2 ** Math.max(0, earlier - 1));
      return Math.max(0, reloadedAt + gap - now());
    },
  };
}

function generationIn(target: string | undefined): string | undefined {
  return target === undefined ? undefined : /(?:^|\/)gen-([0-9a-f]+)$/.exec(target)?.[1];
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch {
    return undefined;
  }
}

/** A rename is durable only when the folder is (fsync(2)). */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
