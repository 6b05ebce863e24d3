import manifest from '../../package.json' with { type: 'json' };

/** Version of this source tree; images are tagged with it. */
export const VERSION: string = manifest.version;
