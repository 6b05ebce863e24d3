import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { bundleOptions } from '../../build.mjs';

const ROOT = join(import.meta.dirname, '../..');

/** A member's sidecar from the tree as it is now, bundled as for its image. @returns the bundle */
export async function bundleSidecar(program: 'xdb' | 'xcache', folder: string): Promise<string> {
  await build({ ...bundleOptions(program), outdir: folder });
  const outfile = join(folder, `${program}.mjs`);
  await chmod(outfile, 0o644);
  return outfile;
}

/** As the whole image starts it: what it may use of memory is part of it. */
export async function sidecarCommand(image: 'xdb' | 'xcache'): Promise<string[]> {
  const dockerfile = await readFile(join(ROOT, `images/${image}/Dockerfile`), 'utf8');
  const last = dockerfile.match(/^CMD (\[.*\])$/gm)?.at(-1);
  if (last === undefined) throw new Error(`images/${image}/Dockerfile has no CMD`);
  return JSON.parse(last.slice('CMD '.length)) as string[];
}
