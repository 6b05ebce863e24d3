import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join, relative } from 'node:path';
import { PassThrough } from 'node:stream';
import { createDocker, type Docker, dockerMessage, isNotFound } from '#core/docker.ts';
import { AppError, systemCode } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { POOLS_DIR } from './state.ts';
import { tool } from './tools.ts';

/** Filled image stores, kept between pools: loading takes seconds an engine, linking a store a fraction of one. */
const TEMPLATES = join(POOLS_DIR, 'xcaas-test-images');
const KEPT = 4;

/** Copies images from one engine to others, reading them once. @throws AppError `not_found`, `engine` */
export async function loadImages(from: Docker, tags: readonly string[], to: readonly Docker[]): Promise<void> {
  if (tags.length === 0 || to.length === 0) return;
  await imageIds(from, tags);
  // dockerode itself asks for one name only; the engine takes several as repeated `names`.
  const source = (await new Promise<unknown>((resolve, reject) => {
    from.modem.dial(
      {
        path: '/images/get?',
        options: { names: tags },
        method: 'GET',
        isStream: true,
        statusCodes: { 200: true, 404: 'no such image', 500: 'server error' },
      },
      (error, stream) => (error ? reject(error) : resolve(stream)),
    );
  })) as NodeJS.ReadableStream;
  const loads = to.map(async (docker) => {
    const pipe = new PassThrough();
    source.pipe(pipe);
    source.once('error', (error) => pipe.destroy(error as Error));
    const progress = await docker.loadImage(pipe, { quiet: true });
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(progress, (error, rows: { error?: string }[]) => {
        const failed = rows?.find((row) => row.error)?.error;
        if (error || failed) reject(new AppError('engine', `loading images failed: ${failed ?? dockerMessage(error)}`));
        else resolve();
      });
    });
  });
  await Promise.all(loads);
}

async function imageIds(docker: Docker, tags: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const tag of tags) {
    try {
      ids.push((await docker.getImage(tag).inspect()).Id);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new AppError('not_found', `this machine's engine has no image ${tag} to give to the pool`, {
        hint: 'build it first, or leave it out',
      });
    }
  }
  return ids;
}

export function machineDocker(): Docker {
  return createDocker();
}

/** Name of the template for exactly these images under exactly these tags, in this engine's format. */
export async function templateKey(from: Docker, tags: readonly string[]): Promise<string> {
  const ids = await imageIds(from, tags);
  const { Version } = await from.version();
  const lines = tags.map((tag, at) => `${tag} ${ids[at]}`).sort();
  return createHash('sha256')
    .update([Version, ...lines].join('\n'))
    .digest('hex')
    .slice(0, 20);
}

/** Fills the store of an engine that never ran. @returns false when there is no such template */
export async function useTemplate(key: string, dockerData: string): Promise<boolean> {
  const template = join(TEMPLATES, key);
  if (!existsSync(template)) return false;
  utimesSync(template, new Date(), new Date());
  await copyStore(template, dockerData);
  return true;
}

/**
 * Keeps the image store of an engine that has the images and never had a container.
 *
 * @param scratch a folder of the pool: it is removed with the pool should we die in here
 */
export async function keepTemplate(key: string, dockerData: string, scratch: string): Promise<void> {
  const template = join(TEMPLATES, key);
  const temporary = join(TEMPLATES, `.${key}.${process.pid}`);
  const view = join(scratch, 'view');
  mkdirSync(temporary, { recursive: true });
  mkdirSync(view);
  // A running engine has mounted its store's folder over itself, and files are not linked across mounts: seen through a second mount of the
  // whole disk, which has none of the mounts below it, store and template lie in one.
  tool('mount', ['--bind', POOLS_DIR, view]);
  const seen = (path: string) => join(view, relative(POOLS_DIR, path));
  try {
    await copyStore(seen(dockerData), seen(temporary));
    keepFirst(temporary, template);
  } finally {
    tool('umount', [view]);
    rmSync(temporary, { recursive: true, force: true });
  }
  const old = readdirSync(TEMPLATES)
    .filter((name) => !name.startsWith('.'))
    .map((name) => ({ path: join(TEMPLATES, name), time: statSync(join(TEMPLATES, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time);
  for (const { path } of old.slice(KEPT)) rmSync(path, { recursive: true, force: true });
}

/** Two pools that begin at once fill the same template: whoever comes second leaves it as it is. */
function keepFirst(temporary: string, template: string): void {
  try {
    renameSync(temporary, template);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
  }
}

/**
 * Layers are linked, not copied: an engine never writes into a layer's files (a container's changes go to a layer of its own), it only
 * unlinks them. The small index of images is copied, for that one is written.
 */
async function copyStore(from: string, to: string): Promise<void> {
  for (const [dir, how] of [
    ['overlay2', '-al'],
    ['image', '-a'],
  ] as const) {
    const { code, stderr } = await run('cp', [how, join(from, dir), `${to}/`], { timeoutMs: 120_000 });
    if (code !== 0) throw new AppError('internal', `copying the image store failed: ${stderr.trim().slice(-500)}`);
  }
}
