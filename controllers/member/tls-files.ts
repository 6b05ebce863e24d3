import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { AppError, messageOf } from '#core/errors.ts';

/** This member's certificate, with which it both serves and asks. Read again for every use, so that a rotated one is used at once. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

export interface TlsPaths {
  ca: string;
  certificate: string;
  privateKey: string;
}

/** @throws AppError `unavailable` while the files are not there or do not fit together (they are being replaced) */
export async function readTls(paths: TlsPaths): Promise<TlsFiles> {
  try {
    const [ca, cert, key] = await Promise.all([paths.ca, paths.certificate, paths.privateKey].map((path) => readFile(path, 'utf8')));
    const files = { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
    createSecureContext(files);
    return files;
  } catch (cause) {
    throw new AppError('unavailable', `this member's certificate cannot be used: ${messageOf(cause)}`, { cause });
  }
}
