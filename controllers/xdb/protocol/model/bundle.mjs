// The model as one file of JavaScript: Node 20 reads no TypeScript, and what a test runner makes of it takes four times as long.
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, stop } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * Bundles one file of this folder and imports it.
 *
 * @param {string} name without `.ts`
 */
export async function importBundled(name) {
  const outfile = join(here, `../../../../node_modules/.cache/xcaas/model-${name}.${process.pid}.mjs`);
  await build({
    entryPoints: [join(here, `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'warning',
  });
  await stop();
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(outfile, { force: true });
  }
}
