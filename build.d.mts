import type { BuildOptions } from 'esbuild';

/** How a program is bundled for its image. @param name of its file in controllers/programs */
export function bundleOptions(name: string): BuildOptions;
