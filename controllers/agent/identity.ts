import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { HostSpec } from '#core/host.ts';
import { validate } from '#core/validate.ts';

/** What this host knows of itself before anybody can be asked: `host.json` (docs/architecture.md). */
const HostFile = HostSpec.pick({ id: true, name: true, address: true, group: true, rack: true, labels: true, manager: true });
export type HostIdentity = z.infer<typeof HostFile>;

/** @throws AppError `unavailable` when this host was never made part of a pool, `invalid` when the file was changed into something else */
export async function readIdentity(path: string): Promise<HostIdentity> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('unavailable', `there is no ${path}: this host is not part of a pool`, {
      hint: './xcaas up, or ./xcaas join TOKEN',
      cause,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new AppError('invalid', `${path} is not JSON`, { cause });
  }
  return validate(HostFile, json, path);
}
