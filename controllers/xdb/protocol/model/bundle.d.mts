export function importBundled(name: 'main' | 'short'): Promise<unknown>;
