// Bundles each program of controllers/programs into one file of dist/: images carry that file and Node, nothing else.
import { readdirSync } from 'node:fs';
import { build } from 'esbuild';

const only = process.argv.slice(2);
const programs = readdirSync('controllers/programs')
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -3))
  .filter((name) => only.length === 0 || only.includes(name));

// Bundled CommonJS packages expect these names, which an ES module does not have.
const banner = [
  "import { createRequire as __createRequire } from 'node:module';",
  "import { dirname as __pathDirname } from 'node:path';",
  "import { fileURLToPath as __fileURLToPath } from 'node:url';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = __fileURLToPath(import.meta.url);',
  'const __dirname = __pathDirname(__filename);',
].join('\n');

await build({
  entryPoints: programs.map((name) => ({ in: `controllers/programs/${name}.ts`, out: name })),
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  // Names stay as they are: for shorter ones with `keepNames` every closure would define its name anew when it is made.
  minifyWhitespace: true,
  minifySyntax: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  banner: { js: banner },
  external: ['cpu-features', '*.node'],
  legalComments: 'none',
  logLevel: 'warning',
});
