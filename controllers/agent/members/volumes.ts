import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '#core/errors.ts';
import type { VolumeReport } from '#pool/agent-api.ts';
import type { MemberStore } from './store.ts';

/**
 * Data of members that lies on this host, whether or not the member belongs here still: a database that was destroyed, a member that was made anew on
 * another host while this one was gone.
 *
 * @param folder e.g. `/var/lib/xcaas/volumes`
 */
export async function listVolumes(folder: string, store: Pick<MemberStore, 'get'>): Promise<VolumeReport[]> {
  const members = await namesIn(folder);
  return Promise.all(
    members.map(async (member): Promise<VolumeReport> => {
      const volumes = await namesIn(join(folder, member));
      const filled = await Promise.all(
        volumes.map(async (volume) => ((await namesIn(join(folder, member, volume))).length > 0 ? [volume] : [])),
      );
      return { member, volumes: filled.flat(), kept: (await store.get(member)) !== undefined };
    }),
  );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
