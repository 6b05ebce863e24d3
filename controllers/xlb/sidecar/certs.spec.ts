import '#ground/reflect.ts';
import { createHash, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkCerts } from './certs.ts';

const now = new Date('2030-01-01T00:00:00Z');
const day = 86_400_000;
interface Pair {
  cert: string;
  key: string;
}
let shop: Pair;
let other: Pair;
let wild: Pair;
let old: Pair;
let soon: Pair;

async function make(hosts: string[], from = -day, to = 90 * day): Promise<Pair> {
  x509.cryptoProvider.set(webcrypto as never);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${hosts[0]}`,
    notBefore: new Date(now.getTime() + from),
    notAfter: new Date(now.getTime() + to),
    signingAlgorithm: algorithm,
    keys: keys as never,
    extensions: [new x509.SubjectAlternativeNameExtension(hosts.map((value) => ({ type: 'dns' as const, value })))],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`,
  };
}

beforeAll(async () => {
  [shop, other, wild, old, soon] = await Promise.all([
    make(['shop.example']),
    make(['other.example']),
    make(['*.wild.example']),
    make(['old.example'], -100 * day, -day),
    make(['soon.example'], -day, 3 * day),
  ]);
});

const file = (...certs: unknown[]) => JSON.stringify({ version: 3, certs });
const names = (text: string) => (JSON.parse(text) as { certs: { hosts: string[] }[] }).certs.map((pair) => pair.hosts.join());

describe('checkCerts', () => {
  it('hands a good file on byte by byte', () => {
    const text = file({ hosts: ['shop.example'], ...shop }, { hosts: ['*.wild.example'], ...wild });
    expect(checkCerts(text, now)).toMatchObject({ version: 3, text, hosts: ['shop.example', '*.wild.example'], problems: [] });
  });

  it('leaves a bad pair out and names it, without its key', () => {
    const checked = checkCerts(
      file(
        { hosts: ['shop.example'], cert: shop.cert, key: other.key },
        { hosts: ['not.example'], ...other },
        { hosts: ['junk.example'], cert: 'junk', key: shop.key },
        { hosts: ['evil.example; return 200'], ...shop },
        'nothing',
        { hosts: ['other.example'], ...other },
      ),
      now,
    );
    expect(names(checked?.text ?? '')).toEqual(['other.example']);
    expect(checked?.problems).toEqual([
      "the key of shop.example is not its certificate's",
      'the certificate given for not.example is not for that name',
      'the certificate of junk.example cannot be read',
      'certificate 4 of the list is not understood',
      'certificate 5 of the list is not understood',
    ]);
    expect(JSON.stringify(checked?.problems)).not.toContain('PRIVATE');
  });

  it('keeps only the names that a certificate is for', () => {
    const checked = checkCerts(file({ hosts: ['shop.example', 'more.example'], ...shop }), now);
    expect(names(checked?.text ?? '')).toEqual(['shop.example']);
    expect(checked?.problems).toEqual(['the certificate given for more.example is not for that name']);
  });

  it('serves a certificate outside its dates, and says so', () => {
    const checked = checkCerts(file({ hosts: ['old.example'], ...old }, { hosts: ['soon.example'], ...soon }), now);
    expect(checked?.hosts).toEqual(['old.example', 'soon.example']);
    expect(checked?.problems).toEqual([
      'the certificate of old.example expired on 2029-12-31T00:00:00.000Z',
      'the certificate of soon.example expires on 2030-01-04T00:00:00.000Z',
    ]);
  });

  it('does not understand what is no such file', () => {
    for (const text of ['', '{', '[]', '{"version":0,"certs":[]}', '{"version":1}']) expect(checkCerts(text, now)).toBeUndefined();
  });

  it('has one hash for the same pairs whatever their version', () => {
    const pair = { hosts: ['shop.example'], ...shop };
    const [a, b] = [
      checkCerts(JSON.stringify({ version: 1, certs: [pair] }), now),
      checkCerts(JSON.stringify({ version: 2, certs: [pair] }), now),
    ];
    expect(a?.hash).toBe(b?.hash);
    expect(
      createHash('sha1')
        .update(a?.withVersion(9) ?? '')
        .digest('hex'),
    ).toBe(
      createHash('sha1')
        .update(b?.withVersion(9) ?? '')
        .digest('hex'),
    );
  });
});
