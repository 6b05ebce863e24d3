// Bundles main.ts and runs it: Node 20 does not read TypeScript. Packages stay outside, and each file keeps its own place (`import.meta`), by which it
// finds its neighbours in the tree.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, stop } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
// Below node_modules, so that packages are found from there.
const outdir = join(here, '../../node_modules/.cache/xcaas');

const places = {
  name: 'places',
  setup({ onLoad }) {
    onLoad({ filter: /\.(ts|mjs)$/ }, ({ path }) => {
      const is = (value) => JSON.stringify(value);
      const contents = readFileSync(path, 'utf8')
        .replaceAll('import.meta.dirname', is(dirname(path)))
        .replaceAll('import.meta.url', is(pathToFileURL(path).href));
      return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' };
    });
  },
};

await build({
  entryPoints: {
    // What a package looks for when it is loaded; packages outside are loaded before anything in a bundle.
    'bench-first': join(here, '../../controllers/ground/reflect.ts'),
    bench: join(here, process.env.XCAAS_BENCH_ENTRY ?? 'main.ts'),
  },
  outdir,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
  plugins: [places],
});
await stop();
for (const name of ['bench-first', 'bench']) await import(pathToFileURL(join(outdir, `${name}.mjs`)).href);
