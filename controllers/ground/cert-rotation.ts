import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import type { HostPaths } from '#core/paths.ts';
import { validate } from '#core/validate.ts';
import { createKey, isIssuedFor, issue, type KeyPair, needsRenewal, publicKeyOf, type Role } from '#ground/ca.ts';
import { postToAny } from '#ground/control-client.ts';
import { ensureFolder, type HostRecord, readHostSpec } from '#ground/host-record.ts';
import { certificateOf } from '#ground/join.ts';
import { answerErrors, requirePeer } from '#ground/plugin.ts';

/**
 * Certificates are renewed for the key the host already has. So a renewal replaces one file by one rename, and at no moment, also not after a
 * power cut, lies a certificate beside a key that it does not fit.
 */
const RenewAnswer = z.object({ certificate: z.string() });

export interface RenewRouteDeps {
  consul: ConsulClient;
  ca: KeyPair;
  log: Logger;
  now?: () => Date;
}

/** Control's side: `POST /ground/renew` gives the calling host a new certificate for the key of the connection it calls over. */
export async function renewRoutes(app: FastifyInstance, deps: RenewRouteDeps): Promise<void> {
  const { consul, ca, log, now = () => new Date() } = deps;
  answerErrors(app, log);
  app.post('/ground/renew', async (request): Promise<z.infer<typeof RenewAnswer>> => {
    const peer = requirePeer(request, ['agent']);
    // Name and addresses come from the pool's records, not from the caller.
    const host = await readHostSpec(consul, peer.cn);
    if (host === undefined) {
      throw new AppError('forbidden', `host ${peer.cn} is not of this pool any longer`, { hint: 'let it join again: xcaas join-token' });
    }
    const { raw } = (request.raw.socket as TLSSocket).getPeerCertificate();
    const publicKey = new X509Certificate(raw).publicKey.export({ type: 'spki', format: 'pem' }).toString();
    log.info({ host: host.name }, 'renewed the certificate of a host');
    return { certificate: await issue({ ca, publicKey, ...certificateOf(host), now: now() }) };
  });
}

export interface RenewOptions {
  paths: HostPaths;
  /** Addresses of managers, tried in this order. */
  controls: string[];
  /** With the agent's token; told to read the new certificate. */
  consul?: ConsulClient;
  /** Renew also a certificate that is good for long. */
  force?: boolean;
  now?: Date;
  port?: number;
}

/**
 * The agent's side: renews this host's certificate when a third of its life is left, and lets Consul read it. Programs that use
 * {@link tlsMaterial} follow by themselves.
 *
 * @returns true when there is a new certificate
 * @throws AppError `unavailable` when no manager answered, or what one said
 */
export async function renewCertificate(options: RenewOptions): Promise<boolean> {
  const { paths, controls, consul, force = false, now = new Date(), port } = options;
  const { ca, cert, key } = await readMaterial(paths, 'agent');
  if (!force && !needsRenewal(cert, now)) return false;
  const certificate = await postToAny(controls, '/ground/renew', {
    material: { ca, cert, key },
    ...(port === undefined ? {} : { port }),
    accept(body, host) {
      const answer = validate(RenewAnswer, body, `the answer of ${host}`);
      if (isIssuedFor(answer.certificate, ca, key)) return answer.certificate;
      throw new AppError('internal', `${host} gave a certificate that does not fit this host`);
    },
  });
  await writeFileAtomic(join(paths.pki, 'host.pem'), certificate, 0o644);
  if (consul !== undefined) await reloadConsul(consul);
  return true;
}

/** Makes Consul read its certificate, token and TLS settings again. */
export async function reloadConsul(consul: ConsulClient): Promise<void> {
  const answer = await consul.request('PUT', '/v1/agent/reload', { timeoutMs: 15_000 });
  if (answer.status !== 200) throw consulError(answer, 'a reload of its configuration');
}

/**
 * A manager's own certificates, made with the CA's key that lies beside them: those that are missing, no longer fit, or have a third of their
 * life left. For `init`, `promote`, and control when it starts and daily.
 *
 * @returns names of the files that changed
 */
export async function ensureCertificates(
  paths: HostPaths,
  host: HostRecord,
  { now = new Date(), force = false }: { now?: Date; force?: boolean } = {},
): Promise<string[]> {
  await ensureFolder(paths.pki, 0o700);
  const ca = { cert: await readFile(join(paths.pki, 'ca.pem'), 'utf8'), key: await readFile(join(paths.pki, 'ca.key'), 'utf8') };
  const changed: string[] = [];
  const wanted = certificateOf(host);
  for (const [file, role] of [
    ['host', 'agent'],
    ['control', 'control'],
  ] as const) {
    if (role === 'control' && !host.manager) continue;
    const keyFile = join(paths.pki, `${file}.key`);
    const certFile = join(paths.pki, `${file}.pem`);
    const oldKey = await readIfThere(keyFile);
    const key = oldKey ?? (await createKey());
    if (oldKey === undefined) await writeFileAtomic(keyFile, key, 0o600);
    const old = await readIfThere(certFile);
    const dnsNames = role === 'agent' ? wanted.dnsNames : [];
    const good = old !== undefined && !needsRenewal(old, now) && isIssuedFor(old, ca.cert, key) && covers(old, host.address, dnsNames);
    if (good && !force) continue;
    const cert = await issue({ ca, ...wanted, role, dnsNames, publicKey: publicKeyOf(key), now });
    await writeFileAtomic(certFile, cert, 0o644);
    changed.push(`${file}.pem`);
  }
  return changed;
}

export interface TlsMaterial {
  /** For clients: what to connect with now. */
  current(): { ca: string; cert: string; key: string };
  /** Servers given here get every later certificate; connections that are open go on. */
  follow(server: { setSecureContext(options: SecureContextOptions): void }): void;
  /** Looks at the files now. @returns true when they had changed */
  refresh(): Promise<boolean>;
  stop(): void;
}

/**
 * Key, certificate and CA of a program of this host. The files are looked at every `intervalMs` milliseconds, so that a renewed certificate is in
 * use without a restart. Files that cannot be read or do not fit together are left alone: what was good stays in use.
 *
 * @throws AppError `not_found` when the host has none
 */
export async function tlsMaterial(
  paths: HostPaths,
  role: Role,
  { intervalMs = 30_000, log }: { intervalMs?: number; log?: Logger } = {},
): Promise<TlsMaterial> {
  let material = await readMaterial(paths, role);
  const servers: { setSecureContext(options: SecureContextOptions): void }[] = [];
  const refresh = async () => {
    const next = await readMaterial(paths, role);
    if (next.cert === material.cert && next.key === material.key && next.ca === material.ca) return false;
    material = next;
    for (const server of servers) server.setSecureContext(next);
    return true;
  };
  const timer = setInterval(() => {
    refresh().catch((error: unknown) =>
      log?.warn({ err: messageOf(error) }, 'the certificate on disk cannot be used; the one in use stays'),
    );
  }, intervalMs);
  timer.unref();
  return { current: () => material, follow: (server) => void servers.push(server), refresh, stop: () => clearInterval(timer) };
}

async function readMaterial(paths: HostPaths, role: Role): Promise<{ ca: string; cert: string; key: string }> {
  const file = role === 'agent' ? 'host' : 'control';
  const [ca, cert, key] = await Promise.all(['ca.pem', `${file}.pem`, `${file}.key`].map((name) => readIfThere(join(paths.pki, name))));
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new AppError('not_found', `this host has no certificate of role ${role} in ${paths.pki}`, {
      hint: role === 'agent' ? 'run ./xcaas up, or let it join a pool: ./xcaas join TOKEN' : 'only managers have one',
    });
  }
  if (!isIssuedFor(cert, ca, key)) throw new AppError('invalid', `${file}.pem, ${file}.key and ca.pem in ${paths.pki} do not fit together`);
  return { ca, cert, key };
}

function covers(certificate: string, address: string, dnsNames: string[]): boolean {
  const parsed = new X509Certificate(certificate);
  return parsed.checkIP(address) !== undefined && dnsNames.every((name) => parsed.checkHost(name) !== undefined);
}
