import { readFile } from 'node:fs/promises';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import type { SidecarConfig } from './config.ts';
import { type MemberDisk, openDisk } from './disk.ts';
import type { Failpoints } from './failpoint.ts';

/**
 * A member's memory as its sidecar begins with it.
 *
 * Where the host was started anew since this member followed somebody (or its volume is in another host now), the end of what it had acknowledged may be gone: the kernel
 * had it, the disk had not. What is left of it is thrown away and the data get a new generation (G1), so that no record means them until they are complete again. No engine
 * runs yet: all processes are of this start of the host.
 *
 * @throws AppError `conflict` when the volume belongs to somebody else, or holds data of which nothing is known; `unavailable` when the kernel does not say when it was
 * started
 */
export async function openOwnDisk(
  { db, member, paths }: Pick<SidecarConfig, 'db' | 'member' | 'paths'>,
  engine: Pick<Engine, 'hasData' | 'discardReceived'>,
  failpoints: Failpoints,
  log: Logger,
): Promise<MemberDisk> {
  const disk = await openDisk(paths.memory, { db, member }, failpoints, await kernelStart(paths.bootId));
  if (disk.isNew) {
    if (await engine.hasData()) {
      throw new AppError('conflict', 'this volume holds data of which nothing is known', {
        hint: 'give the member an empty volume; nothing was touched',
      });
    }
    await disk.claim();
  }
  if (disk.lostMemory()) {
    const { gen: before } = disk.now();
    await engine.discardReceived();
    const gen = await disk.renewGeneration();
    log.warn(
      { before, gen },
      'the host was started anew: what was received and not applied is fetched again, the data count as others until then',
    );
  }
  return disk;
}

async function kernelStart(path: string): Promise<string> {
  try {
    const id = (await readFile(path, 'utf8')).trim();
    if (id !== '') return id;
    throw new Error('it is empty');
  } catch (cause) {
    throw new AppError('unavailable', `${path} does not say when this host was started: ${messageOf(cause)}`, {
      hint: 'members need the /proc of a Linux kernel: without it nobody can know what a power failure has taken',
      cause,
    });
  }
}
