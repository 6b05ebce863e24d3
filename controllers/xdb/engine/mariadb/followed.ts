import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { SlaveStatus } from './status.ts';

/** Which member the master is, which the engine does not keep: written before it is told to follow, and true only for the very address it was told. */
const Followed = z.object({ host: z.string(), port: z.number(), member: z.string().optional() });
const fileOf = (dataDir: string): string => join(dataDir, 'xdb-master.json');

/** To be called before the engine is told to. */
export async function noteFollowed(dataDir: string, followed: z.infer<typeof Followed>): Promise<void> {
  await writeFileAtomic(fileOf(dataDir), `${JSON.stringify(Followed.parse(followed))}\n`);
}

/** The member that the engine is told to follow; undefined for an outside master. */
export async function followedMember(dataDir: string, status: SlaveStatus): Promise<string | undefined> {
  const text = await readIfThere(fileOf(dataDir));
  if (text === undefined) return undefined;
  const followed = Followed.safeParse(parseJson(text));
  return followed.success && followed.data.host === status.host && followed.data.port === status.port ? followed.data.member : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** No master any more. */
export async function forgetFollowed(dataDir: string): Promise<void> {
  await writeFileAtomic(fileOf(dataDir), '{}\n');
}
