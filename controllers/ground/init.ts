import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { HostPaths } from '#core/paths.ts';
import { validate } from '#core/validate.ts';
import { createCa } from '#ground/ca.ts';
import { ensureCertificates } from '#ground/cert-rotation.ts';
import { createGossipKey, readConsulConfig, writeConsulConfig } from '#ground/consul-config.ts';
import { ensureFolder, HostRecord, readHostRecord, writeHostRecord } from '#ground/host-record.ts';
import { createPoolKey, parsePoolKey } from '#ground/seal.ts';

/**
 * Founds a pool on this host, or finishes a founding that was interrupted, or, on a manager of a pool, brings certificates and configuration up
 * to date. Identity, CA and keys are made once and kept.
 *
 * @param modernConsul true when the host's Consul is 1.14 or later; as before when not given
 * @returns the host's record, and whether Consul's configuration changed (it is read when Consul starts)
 * @throws AppError `conflict` when the host's address or name would change, when it is a plain member of a pool, or when a key that records
 *   or certificates depend on is lost
 */
export async function initHost(
  paths: HostPaths,
  wanted: Omit<HostRecord, 'id' | 'manager'>,
  { now = new Date(), modernConsul }: { now?: Date; modernConsul?: boolean } = {},
): Promise<{ host: HostRecord; consulChanged: boolean }> {
  const before = await readHostRecord(paths.hostFile);
  if (before !== undefined) await assertSameHost(paths, before, wanted);
  const host = validate(HostRecord, { ...wanted, id: before?.id ?? randomUUID(), manager: true }, 'the host');
  await assertNothingLost(paths);

  // Identity first: whatever is made next carries it.
  await writeHostRecord(paths.hostFile, host);
  await ensureFolder(paths.pki, 0o700);
  await ensureFolder(paths.tokens, 0o700);
  if ((await readIfThere(join(paths.pki, 'ca.pem'))) === undefined) {
    const ca = await createCa(host.name, now);
    // The key first: a certificate without its key could never be mended, a key without a certificate is made anew.
    await writeFileAtomic(join(paths.pki, 'ca.key'), ca.key, 0o600);
    await writeFileAtomic(join(paths.pki, 'ca.pem'), ca.cert, 0o644);
  }
  await ensureCertificates(paths, host, { now });

  const poolKey = await readIfThere(paths.poolKey);
  if (poolKey === undefined) await writeFileAtomic(paths.poolKey, `${createPoolKey()}\n`, 0o600);
  else parsePoolKey(poolKey);

  const written = await readConsulConfig(paths);
  const consulChanged = await writeConsulConfig(paths, {
    host,
    gossipKey: written?.gossipKey ?? createGossipKey(),
    servers: written?.servers ?? [],
    // Until the ACLs exist nobody else can be of this pool; `acl` takes it away (see foundAcl).
    bootstrap: written?.bootstrap ?? true,
    agentToken: written?.agentToken,
    modern: modernConsul ?? written?.modern ?? false,
  });
  return { host, consulChanged };
}

async function assertSameHost(paths: HostPaths, before: HostRecord, wanted: Omit<HostRecord, 'id' | 'manager'>): Promise<void> {
  if (!before.manager && (await readIfThere(join(paths.pki, 'ca.pem'))) !== undefined) {
    throw new AppError('conflict', `this host is ${before.name}, a member of a pool: it has no pool to found`, {
      hint: 'to found another pool here, take it out of its own first: ./xcaas down --purge',
    });
  }
  if (before.address !== wanted.address) {
    throw new AppError('conflict', `this host is in its pool with the address ${before.address}, not ${wanted.address}`, {
      hint:
        `give the host its old address back, or name it: --advertise ${before.address}. The address is part of Consul's and Swarm's membership: ` +
        'to change it, drain and remove the host from the pool, then join it again with the new one',
    });
  }
  if (before.name !== wanted.name) {
    throw new AppError('conflict', `this host is called ${before.name} in its pool, not ${wanted.name}`, {
      hint: 'tokens and records name it so: to change it, remove the host from the pool, then join it again',
    });
  }
}

/** What cannot be made again is never made anew in silence. */
async function assertNothingLost(paths: HostPaths): Promise<void> {
  const ca = await readIfThere(join(paths.pki, 'ca.pem'));
  const caKey = await readIfThere(join(paths.pki, 'ca.key'));
  if (ca !== undefined && caKey === undefined) {
    throw new AppError('conflict', `the pool's CA is in ${paths.pki} and its key is lost`, {
      hint: 'bring it back from another manager, where it is the same',
    });
  }
  const records = await readdir(join(paths.consulData, 'raft')).catch(() => []);
  if (records.length > 0 && (await readIfThere(paths.poolKey)) === undefined) {
    throw new AppError('conflict', `the pool has records and ${paths.poolKey}, which their secrets are sealed with, is lost`, {
      hint: 'bring it back from another manager, where it is the same',
    });
  }
}
