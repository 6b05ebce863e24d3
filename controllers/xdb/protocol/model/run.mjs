import { importBundled } from './bundle.mjs';

await importBundled('main');
