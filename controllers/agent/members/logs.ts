import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import { MEMBER_LABELS } from '#pool/member.ts';
import { engineError } from '../engine-errors.ts';

/** Bytes before each piece of a container's log: stream, three zeros, length (Docker Engine API, "attach"). */
const HEADER_BYTES = 8;

/** The latest lines of a member, oldest first. @throws AppError `not_found` */
export async function memberLogs(docker: Docker, id: string, lines: number): Promise<string[]> {
  try {
    const container = docker.getContainer(id);
    const { Config } = await container.inspect();
    if (Config.Labels?.[MEMBER_LABELS.member] !== id) throw new AppError('not_found', `${id} is no member of a service`);
    const raw = await container.logs({ stdout: true, stderr: true, tail: lines, timestamps: false, follow: false });
    return textOf(raw, Config.Tty)
      .split('\n')
      .filter((line) => line !== '');
  } catch (error) {
    if (isNotFound(error)) throw new AppError('not_found', `there is no member ${id} on this host`);
    throw engineError(error, `reading the log of ${id}`);
  }
}

/** What was written to both streams, in its order. */
export function textOf(raw: Buffer, tty: boolean): string {
  if (tty) return raw.toString('utf8');
  const pieces: Buffer[] = [];
  for (let at = 0; at + HEADER_BYTES <= raw.length; ) {
    const length = raw.readUInt32BE(at + 4);
    pieces.push(raw.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
    at += HEADER_BYTES + length;
  }
  return Buffer.concat(pieces).toString('utf8');
}
