import './reflect.ts';
import { createHash, createPrivateKey, createPublicKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { AppError } from '#core/errors.ts';

export type Role = 'agent' | 'control';

/**
 * What a certificate is for. `member` = the engine and sidecar of one member: between members of its service it is good, to agents and control it is
 * nobody ({@link roleOf}).
 */
export type CertificateRole = Role | 'member';

/** A certificate and its private key, both as PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

export interface IssueRequest {
  ca: KeyPair;
  /** Id or name of the host, id of the member. */
  cn: string;
  role: CertificateRole;
  /** IP addresses the certificate is good for; 127.0.0.1 is always added. */
  addresses: string[];
  /** DNS names the certificate is good for; `localhost` is always added. */
  dnsNames?: string[];
  days?: number;
  /** PEM (SPKI) of the key to certify. Its private half then stays where it is. */
  publicKey: string;
  now?: Date;
}

export interface Peer {
  /** Common name of the certificate: the host's id. */
  cn: string;
  role: Role;
}

/** The name that a Consul server's certificate must carry (`verify_server_hostname`; datacenter `xcaas`, domain `consul`). */
export const CONSUL_SERVER_NAME = 'server.xcaas.consul';

export const CA_DAYS = 3650;
export const HOST_DAYS = 90;

const CURVE = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
/** Certificates begin an hour ago: the clocks of the hosts of a pool differ. */
const CLOCK_SLACK_MS = 3_600_000;

// The library's types want the browser's Crypto, which Node's webcrypto is in all but the names of its types.
x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

/** A new CA for a pool: ECDSA P-256, ten years, may sign host certificates only. */
export async function createCa(poolName: string, now = new Date()): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(CA_DAYS, now),
    serialNumber: serial(),
    name: [{ CN: [`xCaaS pool ${poolName}`] }],
    signingAlgorithm: CURVE,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
    ],
  });
  return { cert: pem(cert.toString('pem')), key: await exportKey(keys.privateKey) };
}

/** A private key for a host, as PEM (PKCS#8). */
export async function createKey(): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  return exportKey(keys.privateKey);
}

/** The public half (PEM, SPKI) of a private key. */
export function publicKeyOf(privateKey: string): string {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
}

/**
 * Signs a certificate for a key that the host keeps.
 *
 * @returns the certificate as PEM
 * @throws AppError `invalid` when an address is none or the public key cannot be read
 */
export async function issue(request: IssueRequest): Promise<string> {
  const { ca, cn, role, days = HOST_DAYS, now = new Date() } = request;
  const addresses = unique(['127.0.0.1', ...request.addresses]);
  const dnsNames = unique(['localhost', ...(request.dnsNames ?? [])]);
  for (const address of addresses) {
    if (isIP(address) === 0) throw new AppError('invalid', `${address} is not an IP address, so no certificate can be made for it`);
  }
  const caCert = new x509.X509Certificate(ca.cert);
  const publicKey = await importPublicKey(request.publicKey);
  const cert = await x509.X509CertificateGenerator.create({
    ...validity(days, now),
    serialNumber: serial(),
    subject: [{ CN: [cn] }, { OU: [role] }],
    issuer: caCert.subjectName,
    signingAlgorithm: CURVE,
    publicKey: publicKey as never,
    signingKey: (await importPrivateKey(ca.key)) as never,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      // Every program is a server to some and a client to others; Consul's servers too.
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...addresses.map((value) => ({ type: 'ip' as const, value })),
        ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey as never),
      await x509.AuthorityKeyIdentifierExtension.create(caCert),
    ],
  });
  return pem(cert.toString('pem'));
}

/** {@link issue} with a key made here, for programs that need both at once. */
export async function issuePair(request: Omit<IssueRequest, 'publicKey'>): Promise<KeyPair> {
  const key = await createKey();
  return { cert: await issue({ ...request, publicKey: publicKeyOf(key) }), key };
}

/** True when less than a third of the certificate's life is left, or when it cannot be read. */
export function needsRenewal(certificate: string, now = new Date()): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    const from = Date.parse(parsed.validFrom);
    const to = Date.parse(parsed.validTo);
    return to - now.getTime() < (to - from) / 3;
  } catch {
    return true;
  }
}

/** True when the certificate was signed by this CA for this key. */
export function isIssuedFor(certificate: string, ca: string, privateKey: string): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    return parsed.verify(new X509Certificate(ca).publicKey) && parsed.checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    return false;
  }
}

/**
 * The role in a peer's certificate as `TLSSocket.getPeerCertificate()` gives it, or undefined when it has none of ours. It proves something only
 * on a connection whose `authorized` is true: see {@link peerOf}.
 */
export function roleOf(certificate: { subject?: { OU?: unknown } } | undefined): Role | undefined {
  const unit = certificate?.subject?.OU;
  return unit === 'agent' || unit === 'control' ? unit : undefined;
}

/** Who is at the other end of a mutual TLS connection; undefined unless its certificate is of our CA and names a role. */
export function peerOf(socket: Pick<TLSSocket, 'authorized' | 'getPeerCertificate'>): Peer | undefined {
  if (socket.authorized !== true) return undefined;
  const certificate = socket.getPeerCertificate();
  const role = roleOf(certificate);
  const cn: unknown = certificate.subject?.CN;
  return role === undefined || typeof cn !== 'string' ? undefined : { cn, role };
}

/** SHA-256, in hex, of the bytes of a CA file: what a join token carries. */
export function fingerprint(caFile: string | Buffer): string {
  return createHash('sha256').update(caFile).digest('hex');
}

function validity(days: number, now: Date): { notBefore: Date; notAfter: Date } {
  const start = now.getTime() - CLOCK_SLACK_MS;
  return { notBefore: new Date(start), notAfter: new Date(start + days * DAY_MS) };
}

/** 127 random bits: positive, and at most 20 octets (RFC 5280 §4.1.2.2). */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function unique(values: string[]): string[] {
  return [...new Set(values)];
}

function pem(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return pem(x509.PemConverter.encode(der as never, 'PRIVATE KEY'));
}

async function importPrivateKey(text: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(text).export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', der, CURVE, false, ['sign']);
}

async function importPublicKey(text: string): Promise<webcrypto.CryptoKey> {
  try {
    const der = createPublicKey(text).export({ type: 'spki', format: 'der' });
    return await webcrypto.subtle.importKey('spki', der, CURVE, true, ['verify']);
  } catch (cause) {
    throw new AppError('invalid', 'the public key is not a P-256 key in PEM', { cause });
  }
}
