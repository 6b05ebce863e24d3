import { chmod, mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { HostSpec } from '#core/host.ts';
import { validate } from '#core/validate.ts';

/** An address that other hosts can be told: Consul and certificates need an IP, and a wildcard is none. */
export const hostAddress = z
  .string()
  .refine((text) => isIP(text) !== 0, 'use an IP address')
  .refine((text) => text !== '0.0.0.0' && text !== '::', 'use the address that other hosts reach this one at');

/** The host's name is also its Consul node name and is typed by people: a host name of RFC 1123, in lower case. */
export const hostName = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'use lower-case letters, digits, "-" and "."');

/** `host.json`: who this host is. */
export const HostRecord = HostSpec.omit({ v: true, drained: true }).extend({ name: hostName, address: hostAddress });
export type HostRecord = z.infer<typeof HostRecord>;

/** @throws AppError `invalid` when the file is there and is not a host's record */
export async function readHostRecord(path: string): Promise<HostRecord | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError('invalid', `${path} is not JSON`, { hint: 'restore it from a backup; it is never written in part', cause });
  }
  return validate(HostRecord, value, path);
}

/** Everybody on the host may read it: it holds no secret. */
export async function writeHostRecord(path: string, record: HostRecord): Promise<void> {
  await ensureFolder(dirname(path), 0o755);
  await writeFileAtomic(path, `${JSON.stringify(HostRecord.parse(record), null, 2)}\n`, 0o644);
}

/** Makes the folder, and gives it these permission bits also when it was there. */
export async function ensureFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, mode);
}

export function hostSpecKey(id: string): string {
  return `xcaas/hosts/${id}/spec`;
}

/** All hosts the pool knows. */
export async function listHosts(consul: ConsulClient): Promise<HostSpec[]> {
  const entries = await consul.kv.list('xcaas/hosts/', { consistent: true });
  return entries.filter(({ key }) => key.endsWith('/spec')).map(({ key, value }) => parseSpec(key, value));
}

export async function readHostSpec(consul: ConsulClient, id: string): Promise<HostSpec | undefined> {
  const entry = await consul.kv.get(hostSpecKey(id), { consistent: true });
  return entry === undefined ? undefined : parseSpec(entry.key, entry.value);
}

/**
 * Writes the host into the pool's records. What was decided through the pool since (drained, labels, manager) is kept.
 *
 * @throws AppError `cas_lost` when somebody else kept writing it
 */
export async function registerHost(consul: ConsulClient, record: HostRecord): Promise<HostSpec> {
  const key = hostSpecKey(record.id);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const entry = await consul.kv.get(key, { consistent: true });
    const before = entry === undefined ? undefined : parseSpec(key, entry.value);
    const spec = HostSpec.parse({
      ...record,
      v: 1,
      labels: { ...record.labels, ...before?.labels },
      manager: record.manager || (before?.manager ?? false),
      drained: before?.drained ?? false,
    });
    const text = JSON.stringify(spec);
    if (entry?.value === text) return spec;
    if (await consul.kv.cas(key, text, entry?.modifyIndex ?? 0)) return spec;
  }
  throw new AppError('cas_lost', `the record of host ${record.name} is being written by somebody else`, { hint: 'repeat the command' });
}

/** @throws AppError `conflict` when another host of the pool has this name or address */
export function assertDistinct(record: Pick<HostRecord, 'id' | 'name' | 'address'>, hosts: HostSpec[]): void {
  for (const other of hosts) {
    if (other.id === record.id) continue;
    if (other.name === record.name) {
      throw new AppError('conflict', `the pool already has a host called ${record.name} (at ${other.address})`, {
        hint: `give this one another name, or remove the old one: xcaas node remove ${record.name}`,
      });
    }
    if (other.address === record.address) {
      throw new AppError('conflict', `the pool already has a host at ${record.address}, called ${other.name}`, {
        hint: `if that host was installed anew, remove its old record first: xcaas node remove ${other.name}`,
      });
    }
  }
}

function parseSpec(key: string, value: string): HostSpec {
  try {
    return validate(HostSpec, JSON.parse(value), `the record ${key}`);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('invalid', `the record ${key} is not JSON`, { cause });
  }
}
