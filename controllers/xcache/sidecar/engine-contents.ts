import type { WorkDeps } from '#xcache/backup/work.ts';
import { openSnapshot } from '#xcache/engine/snapshot.ts';
import type { Common } from './common.ts';
import { engineAccess } from './engine-access.ts';

/** A backup of a cache with one master: the data of this member's own engine. */
export function engineContents(common: Common): WorkDeps['contents'] {
  const { member, paths } = common.deps.config;
  return async ({ present: { usedBytes }, signal }) => ({
    parts: [
      {
        open: async () => ({
          content: await openSnapshot({ ...(await engineAccess(common, { path: paths.engineSocket })), signal }),
          ...{ member, usedBytes },
        }),
      },
    ],
    check: async () => undefined,
  });
}
