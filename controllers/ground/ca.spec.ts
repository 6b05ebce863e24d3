import { X509Certificate } from 'node:crypto';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import {
  CONSUL_SERVER_NAME,
  createCa,
  createKey,
  fingerprint,
  isIssuedFor,
  issue,
  issuePair,
  type KeyPair,
  needsRenewal,
  peerOf,
  publicKeyOf,
  roleOf,
} from '#ground/ca.ts';

const DAY = 86_400_000;

describe('certificates', () => {
  let ca: KeyPair;
  let other: KeyPair;
  beforeAll(async () => {
    ca = await createCa('test');
    other = await createCa('test');
  });

  it('are good for the addresses and names asked for, by the CA that signed them', async () => {
    const { cert, key } = await issuePair({
      ca,
      cn: 'h1',
      role: 'agent',
      addresses: ['10.1.2.3', 'fd00::1'],
      dnsNames: [CONSUL_SERVER_NAME],
    });
    const parsed = new X509Certificate(cert);
    for (const address of ['10.1.2.3', 'fd00::1', '127.0.0.1']) expect(parsed.checkIP(address)).toBeDefined();
    for (const name of [CONSUL_SERVER_NAME, 'localhost']) expect(parsed.checkHost(name)).toBeDefined();
    expect(parsed.checkIP('10.1.2.4')).toBeUndefined();
    expect(parsed.ca).toBe(false);
    expect(parsed.subject).toBe('CN=h1\nOU=agent');
    expect(isIssuedFor(cert, ca.cert, key)).toBe(true);
    expect(isIssuedFor(cert, other.cert, key)).toBe(false);
    expect(isIssuedFor(cert, ca.cert, await createKey())).toBe(false);
    expect(new X509Certificate(ca.cert).ca).toBe(true);
  });

  it('last 90 days and are renewed with a third left', async () => {
    const now = new Date('2030-01-01T00:00:00Z');
    const { cert } = await issuePair({ ca, cn: 'h1', role: 'agent', addresses: [], now });
    const later = (days: number) => new Date(now.getTime() + days * DAY);
    expect(needsRenewal(cert, later(59))).toBe(false);
    expect(needsRenewal(cert, later(61))).toBe(true);
    expect(needsRenewal(cert, later(100))).toBe(true);
    expect(needsRenewal('nonsense', now)).toBe(true);
    expect(Date.parse(new X509Certificate(ca.cert).validTo)).toBeGreaterThan(Date.now() + 3640 * DAY);
  });

  it('can be made for a key that stays with its host', async () => {
    const key = await createKey();
    const cert = await issue({ ca, cn: 'h1', role: 'agent', addresses: [], publicKey: publicKeyOf(key) });
    expect(isIssuedFor(cert, ca.cert, key)).toBe(true);
  });

  it('are refused for what is no address or no key', async () => {
    const publicKey = publicKeyOf(await createKey());
    await expect(issue({ ca, cn: 'h', role: 'agent', addresses: ['host.example'], publicKey })).rejects.toSatisfy((e) =>
      hasCode(e, 'invalid'),
    );
    await expect(issue({ ca, cn: 'h', role: 'agent', addresses: [], publicKey: 'x' })).rejects.toSatisfy((e) => hasCode(e, 'invalid'));
  });

  it('have a fingerprint that sha256sum of the file agrees with', () => {
    expect(fingerprint('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('roles', () => {
  let ca: KeyPair;
  let foreign: KeyPair;
  const open: { close(): void }[] = [];
  beforeAll(async () => {
    ca = await createCa('test');
    foreign = await createCa('foreign');
  });
  afterAll(() => {
    for (const server of open) server.close();
  });

  it('come from the certificate of a connection, and from one of our CA only', async () => {
    const server = await issuePair({ ca, cn: 's', role: 'control', addresses: [] });
    const agent = await issuePair({ ca, cn: 'h1', role: 'agent', addresses: [] });
    const member = await issuePair({ ca, cn: 'adb-1', role: 'member', addresses: [] });
    const forged = await issuePair({ ca: foreign, cn: 'h1', role: 'control', addresses: [] });
    const seen = (client: Partial<KeyPair>) =>
      new Promise((resolve, reject) => {
        const listener = createServer({ ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: false }, (socket: TLSSocket) => {
          resolve(peerOf(socket));
          socket.destroy();
        });
        open.push(listener);
        listener.listen(0, '127.0.0.1', () => {
          const { port } = listener.address() as { port: number };
          connect({ host: '127.0.0.1', port, ca: ca.cert, ...client }).on('error', reject);
        });
      });
    expect(await seen(agent)).toEqual({ cn: 'h1', role: 'agent' });
    expect(await seen(forged)).toBeUndefined();
    // Of our CA, and nobody to agents and control all the same.
    expect(await seen(member)).toBeUndefined();
    expect(await seen({})).toBeUndefined();
  });

  it('are ours or none', () => {
    expect(roleOf({ subject: { OU: 'control' } })).toBe('control');
    for (const OU of ['admin', 'member', ['agent', 'control'], undefined, 7]) expect(roleOf({ subject: { OU } })).toBeUndefined();
    expect(roleOf(undefined)).toBeUndefined();
  });
});
