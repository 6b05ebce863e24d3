import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError, systemCode } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';

/** Secrets of members: as files on the host's tmpfs for the members, and sealed on its disk so that they are there again after a reboot. */
export interface SecretStore {
  seal(member: string, secrets: Record<string, string>): Promise<void>;
  /** @returns undefined when none were sealed @throws AppError `invalid` when the sealed file or the key was tampered with */
  unseal(member: string): Promise<Record<string, string> | undefined>;
  forget(member: string): Promise<void>;
}

const Sealed = z.object({ v: z.literal(1), nonce: z.string(), tag: z.string(), data: z.string() });

/** @param folder e.g. `/var/lib/xcaas/agent`; the key is `secrets.key` there, made once */
export async function openSecretStore(folder: string): Promise<SecretStore> {
  const sealedFolder = join(folder, 'secrets');
  await mkdir(sealedFolder, { recursive: true, mode: 0o700 });
  const key = await hostKey(join(folder, 'secrets.key'));
  const path = (member: string) => join(sealedFolder, `${member}.sealed`);
  return {
    async seal(member, secrets) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(member));
      const data = Buffer.concat([cipher.update(JSON.stringify(secrets), 'utf8'), cipher.final()]);
      const sealed = { v: 1, nonce: nonce.toString('base64'), tag: cipher.getAuthTag().toString('base64'), data: data.toString('base64') };
      await writeFileAtomic(path(member), JSON.stringify(sealed), 0o600);
    },
    async unseal(member) {
      const text = await readIfThere(path(member));
      if (text === undefined) return undefined;
      try {
        const sealed = Sealed.parse(JSON.parse(text));
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(sealed.nonce, 'base64'), { authTagLength: 16 })
          .setAAD(Buffer.from(member))
          .setAuthTag(Buffer.from(sealed.tag, 'base64'));
        const plain = Buffer.concat([decipher.update(Buffer.from(sealed.data, 'base64')), decipher.final()]);
        return z.record(z.string(), z.string()).parse(JSON.parse(plain.toString('utf8')));
      } catch (cause) {
        throw new AppError('invalid', `the sealed secrets of ${member} in ${path(member)} cannot be opened with this host's key`, {
          hint: 'control hands them over again at its next turn',
          cause,
        });
      }
    },
    async forget(member) {
      await rm(path(member), { force: true });
    },
  };
}

async function hostKey(path: string): Promise<Buffer> {
  try {
    await writeFile(path, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx', flush: true });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
  const text = (await readFile(path, 'utf8')).trim();
  if (!/^[0-9a-f]{64}$/.test(text)) throw new AppError('invalid', `${path} does not hold a key of 32 bytes in hex`);
  return Buffer.from(text, 'hex');
}

export interface Owner {
  uid: number;
  gid: number;
}

/**
 * Makes the files of a folder be exactly `secrets`, each readable by `owner` only. A reader sees the old or the new content, never half.
 *
 * @returns true when anything was changed
 */
export async function writeSecretFiles(folder: string, secrets: Record<string, string>, owner: Owner): Promise<boolean> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chown(folder, owner.uid, owner.gid);
  await chmod(folder, 0o500);
  let changed = false;
  for (const file of await readdir(folder)) {
    if (Object.hasOwn(secrets, file)) continue;
    await rm(join(folder, file), { force: true, recursive: true });
    changed = true;
  }
  for (const [file, value] of Object.entries(secrets)) {
    const path = join(folder, file);
    if ((await readIfThere(path)) === value) {
      await chown(path, owner.uid, owner.gid);
      continue;
    }
    // The owner must be right before the file is under its name.
    const next = join(folder, `.${file}.next`);
    await rm(next, { force: true });
    await writeFile(next, value, { mode: 0o400 });
    await chown(next, owner.uid, owner.gid);
    await rename(next, path);
    changed = true;
  }
  return changed;
}
