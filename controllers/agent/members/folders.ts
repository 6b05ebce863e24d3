import { chmod, chown, mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, systemCode } from '#core/errors.ts';
import type { HostPaths } from '#core/paths.ts';
import type { MemberSpec } from '#pool/member.ts';
import { memberFolders } from './container-options.ts';
import { type Owner, writeSecretFiles } from './secrets.ts';
import type { MemberStore } from './store.ts';

/** What of the host's file system is mounted in members. */
export interface Folders {
  /**
   * Makes all folders of a member. They must be there before the engine is asked; whom they belong to is known only once there is a container to
   * look into.
   *
   * @throws AppError `unavailable` when a volume that had data is not there
   */
  prepare(spec: MemberSpec): Promise<void>;
  /** Gives them to the member's user and writes its secrets. @returns true when a secret changed */
  handOver(spec: MemberSpec, secrets: Record<string, string>, owner: Owner): Promise<boolean>;
  /** Undoes {@link Folders.prepare}; data that an earlier member of that name left is kept. */
  removeEmpty(spec: MemberSpec): Promise<void>;
  /** @param purge also the data @returns true when there was data and it is gone */
  remove(id: string, options: { purge: boolean }): Promise<boolean>;
}

export function createFolders({ paths, store }: { paths: HostPaths; store: Pick<MemberStore, 'get'> }): Folders {
  return {
    async prepare(spec) {
      const folders = memberFolders(spec, paths);
      const before = await store.get(spec.id);
      for (const [volume, folder] of Object.entries(folders.volumes)) {
        const had = before !== undefined && Object.hasOwn(before.spec.volumes, volume);
        if (had && !(await exists(folder))) {
          const what = `the volume ${volume} of ${spec.id} had data and ${folder} is not there`;
          throw new AppError('unavailable', `${what}: an empty one is not put in its place`, {
            hint: 'is the disk mounted? If the data is lost for good, remove the member with purge and let it be made again',
          });
        }
        await mkdir(folder, { recursive: true, mode: 0o750 });
      }
      await mkdir(folders.run, { recursive: true, mode: 0o750 });
      await mkdir(folders.secrets, { recursive: true, mode: 0o700 });
      await mkdir(dirname(paths.consulSocket), { recursive: true, mode: 0o755 });
      await mkdir(dirname(paths.agentSocket), { recursive: true, mode: 0o755 });
    },

    async handOver(spec, secrets, owner) {
      const folders = memberFolders(spec, paths);
      for (const folder of Object.values(folders.volumes)) {
        // Never touch what has data in it: its owner is the member's business.
        if ((await readdir(folder)).length > 0) continue;
        await chown(folder, owner.uid, owner.gid);
        await chmod(folder, 0o750);
      }
      await chown(folders.run, owner.uid, owner.gid);
      return writeSecretFiles(folders.secrets, secrets, owner);
    },

    async removeEmpty(spec) {
      const folders = memberFolders(spec, paths);
      await rm(folders.secrets, { recursive: true, force: true });
      await rm(folders.run, { recursive: true, force: true });
      for (const folder of [...Object.values(folders.volumes), join(paths.volumes, spec.id)]) await rmdir(folder).catch(() => undefined);
    },

    async remove(id, { purge }) {
      await rm(join(paths.membersRun, id), { recursive: true, force: true });
      await rm(join(paths.secretsRun, id), { recursive: true, force: true });
      const data = join(paths.volumes, id);
      const purged = purge && (await exists(data));
      if (purged) await rm(data, { recursive: true, force: true });
      return purged;
    },
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
