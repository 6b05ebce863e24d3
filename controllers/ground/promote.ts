import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import type { HostPaths } from '#core/paths.ts';
import { validate } from '#core/validate.ts';
import { mintControlToken } from '#ground/acl.ts';
import type { KeyPair } from '#ground/ca.ts';
import { ensureCertificates } from '#ground/cert-rotation.ts';
import { readConsulConfig, writeConsulConfig } from '#ground/consul-config.ts';
import { postToAny } from '#ground/control-client.ts';
import { ensureFolder, type HostRecord, listHosts, readHostRecord, readHostSpec, writeHostRecord } from '#ground/host-record.ts';
import { answerErrors, requirePeer } from '#ground/plugin.ts';

/** What makes a host a manager: the secrets that only managers hold. */
export const Promotion = z.object({
  v: z.literal(1),
  caKey: z.string(),
  /** 32 bytes in hex. */
  poolKey: z.string(),
  controlToken: z.string(),
  /** Addresses of the Consul servers, this host's among them. */
  servers: z.array(z.string()).min(1),
});
export type Promotion = z.infer<typeof Promotion>;

export interface PromotionRouteDeps {
  /** With control's token. */
  consul: ConsulClient;
  ca: KeyPair;
  poolKey: string;
  log: Logger;
}

/**
 * Control's side: `POST /ground/promotion` hands the secrets of managers to a host whose record says that it is to be one. Hosts cannot write
 * that record themselves (see `policies.ts`).
 */
export async function promotionRoutes(app: FastifyInstance, deps: PromotionRouteDeps): Promise<void> {
  const { consul, ca, poolKey, log } = deps;
  answerErrors(app, log);
  app.post('/ground/promotion', async (request): Promise<Promotion> => {
    const peer = requirePeer(request, ['agent']);
    const host = await readHostSpec(consul, peer.cn);
    if (host?.manager !== true) {
      throw new AppError('forbidden', `host ${host?.name ?? peer.cn} is not to be a manager`, {
        hint: 'the pool promotes hosts by itself',
      });
    }
    log.info({ host: host.name }, 'handed a host what it needs to be a manager');
    const servers = (await listHosts(consul)).filter(({ manager }) => manager).map(({ address }) => address);
    return { v: 1, caKey: ca.key, poolKey, controlToken: await mintControlToken(consul, host), servers };
  });
}

/**
 * Asks the managers for what makes this host one of them.
 *
 * @param controls addresses of managers, tried in this order
 */
export async function fetchPromotion(paths: HostPaths, controls: string[], port?: number): Promise<Promotion> {
  const [ca, cert, key] = await Promise.all(['ca.pem', 'host.pem', 'host.key'].map((name) => readIfThere(join(paths.pki, name))));
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new AppError('not_found', 'this host is of no pool', { hint: 'let it join one: ./xcaas join TOKEN' });
  }
  return postToAny(controls, '/ground/promotion', {
    material: { ca, cert, key },
    ...(port === undefined ? {} : { port }),
    accept: (body, host) => validate(Promotion, body, `the answer of ${host}`),
  });
}

/**
 * Writes what makes this host a manager. Its Consul has to be restarted then, and control started. May be repeated.
 *
 * @returns true when something changed
 */
export async function applyPromotion(
  paths: HostPaths,
  promotion: Promotion,
  now = new Date(),
): Promise<{ change: boolean; host: HostRecord }> {
  const record = await readHostRecord(paths.hostFile);
  const written = await readConsulConfig(paths);
  if (record === undefined || written === undefined) {
    throw new AppError('not_found', 'this host is of no pool', { hint: 'let it join one: ./xcaas join TOKEN' });
  }
  const host: HostRecord = { ...record, manager: true };
  let change = !record.manager;
  const put = async (path: string, text: string) => {
    if ((await readIfThere(path)) === text) return;
    await writeFileAtomic(path, text, 0o600);
    change = true;
  };
  await ensureFolder(paths.tokens, 0o700);
  await put(join(paths.pki, 'ca.key'), promotion.caKey);
  await put(paths.poolKey, `${promotion.poolKey.trim()}\n`);
  await put(join(paths.tokens, 'control'), `${promotion.controlToken}\n`);
  if ((await ensureCertificates(paths, host, { now })).length > 0) change = true;
  if (await writeConsulConfig(paths, { ...written, host, servers: promotion.servers, bootstrap: false })) change = true;
  // Last: what says that this host is a manager is true only when the rest is there.
  await writeHostRecord(paths.hostFile, host);
  return { change, host };
}
