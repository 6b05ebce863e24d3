import type { Readable } from 'node:stream';
import type { Docker } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import type { Owner } from './secrets.ts';

/** An image whose main process starts as root and gives that up says with this label whom its files belong to: `uid:gid`. */
export const USER_LABEL = 'xcaas.user';

/**
 * Whom the files belong to that an image's member reads and writes: its label, else its user, by number or by the names in its own
 * `/etc/passwd`.
 *
 * @param containerId a container of that image, in any state; its files are looked at
 * @throws AppError `invalid` when the image names a user that it does not have
 */
export async function ownerOf(
  docker: Docker,
  containerId: string,
  image: { user: string; labels: Record<string, string> },
): Promise<Owner> {
  const wanted = image.labels[USER_LABEL] ?? image.user;
  const numeric = parseNumeric(wanted);
  if (numeric !== undefined) return numeric;
  const [user = '', group] = wanted.split(':');
  const passwd = await fileOf(docker, containerId, '/etc/passwd');
  const entry = entryOf(passwd, user);
  if (entry === undefined) throw new AppError('invalid', `the image runs as ${wanted}, but its /etc/passwd has no ${user}`);
  const own = { uid: Number(entry[2]), gid: Number(entry[3]) };
  if (group === undefined) return own;
  if (/^\d+$/.test(group)) return { uid: own.uid, gid: Number(group) };
  const groupEntry = entryOf(await fileOf(docker, containerId, '/etc/group'), group);
  if (groupEntry === undefined) throw new AppError('invalid', `the image runs as ${wanted}, but its /etc/group has no ${group}`);
  return { uid: own.uid, gid: Number(groupEntry[2]) };
}

/** `` and `0` are root; `uid` alone has the group 0, as the engine takes it; undefined when there are names in it. */
export function parseNumeric(user: string): Owner | undefined {
  if (user === '' || user === 'root') return { uid: 0, gid: 0 };
  const match = /^(\d+)(?::(\d+))?$/.exec(user);
  return match === null ? undefined : { uid: Number(match[1]), gid: Number(match[2] ?? 0) };
}

function entryOf(text: string, name: string): string[] | undefined {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[0] === name && fields.length >= 3);
}

async function fileOf(docker: Docker, containerId: string, path: string): Promise<string> {
  const stream = (await docker.getContainer(containerId).getArchive({ path })) as unknown as Readable;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > 4 * 2 ** 20) throw new AppError('invalid', `${path} of the image is larger than 4 MiB`);
  }
  return firstFileOfTar(Buffer.concat(chunks));
}

/** The content of a tar archive's first regular file (POSIX ustar: blocks of 512 bytes, size in octal at 124, type at 156). */
export function firstFileOfTar(tar: Buffer): string {
  for (let at = 0; at + 512 <= tar.length; ) {
    const size = Number.parseInt(
      tar
        .toString('latin1', at + 124, at + 136)
        .replaceAll('\0', '')
        .trim() || '0',
      8,
    );
    const type = tar.toString('latin1', at + 156, at + 157);
    if (type === '0' || type === '\0') return tar.toString('utf8', at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new AppError('engine', 'the engine sent an archive without a file in it');
}
