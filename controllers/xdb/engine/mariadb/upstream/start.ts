import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere } from '#core/files.ts';

/** Where a master without GTIDs is followed from at first: a place in its binlog. */
const Start = z.object({ file: z.string(), offset: z.number().int().min(4) });
export type Start = z.infer<typeof Start>;

export const startFile = (dataDir: string): string => join(dataDir, 'xdb-upstream.json');

/** @returns undefined for a master that has GTIDs as we do */
export async function readStart(dataDir: string): Promise<Start | undefined> {
  const text = await readIfThere(startFile(dataDir));
  return text === undefined ? undefined : Start.parse(JSON.parse(text));
}
