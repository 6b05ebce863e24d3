import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { getText, putText } from '#backup/stores/store.ts';
import { createVolumeStore } from '#backup/stores/volume.ts';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { createCa, issuePair } from '#ground/ca.ts';
import { createPeerClient } from './peer-client.ts';
import { startPeerServer } from './peer-server.ts';
import { peerStore, serveStore } from './peer-store.ts';

let folder: string;
let secret = 'secret';
let server: ReturnType<typeof startPeerServer>;
let port: number;
const own = () => createVolumeStore(join(folder, 'volume'));

async function files(member: string, ca: Awaited<ReturnType<typeof createCa>>) {
  const { cert, key } = await issuePair({ ca, cn: member, role: 'member', addresses: [], dnsNames: [member] });
  const paths = { ca: join(folder, `${member}.ca`), certificate: join(folder, `${member}.pem`), privateKey: join(folder, `${member}.key`) };
  await Promise.all([writeFile(paths.ca, ca.cert), writeFile(paths.certificate, cert), writeFile(paths.privateKey, key)]);
  return paths;
}

let theirs: ReturnType<typeof peerStore>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xdb-ps-'));
  const ca = await createCa('pool');
  const [one, two] = [await files('adb-1', ca), await files('bdb-1', ca)];
  server = startPeerServer({
    ...{ db: 'adb', port: 0, tls: one, log: silentLogger(), secret: () => 'secret' },
    position: () => Promise.reject(new Error('none')),
    clone: () => Promise.reject(new Error('none')),
    store: (socket, object) => serveStore(own(), socket, object),
  });
  port = (await waitFor(async () => server.port(), { timeoutMs: 2000, intervalMs: 5 }))!;
  const peers = createPeerClient({ db: 'adb', member: 'bdb-1', tls: two, secret: () => secret });
  theirs = peerStore(peers, () => ({ member: 'adb-1', address: '127.0.0.1', port }));
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

it('the backup volume of another member is read as it is, and not written to', async () => {
  const large = randomBytes(3_000_000);
  await own().put('full/a/data', Readable.from([large]));
  await putText(own(), 'full/a/backup.json', '{}');
  expect((await theirs.list('full/')).map(({ key, bytes }) => `${key} ${bytes}`).sort()).toEqual([
    'full/a/backup.json 2',
    'full/a/data 3000000',
  ]);
  expect((await buffer(await theirs.get('full/a/data'))).equals(large)).toBe(true);
  expect(await getText(theirs, 'full/a/backup.json')).toBe('{}');
  expect(await theirs.list('none/')).toEqual([]);
  await expect(theirs.get('full/b/data')).rejects.toMatchObject({ code: 'not_found' });
  await expect(theirs.get('../../etc/passwd')).rejects.toBeInstanceOf(Error);
  await expect(theirs.put('x', Readable.from([]))).rejects.toMatchObject({ code: 'internal' });
});

it('who does not know the database’s secret reads nothing', async () => {
  secret = 'another';
  await expect(theirs.list('')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(theirs.get('full/a/data')).rejects.toMatchObject({ code: 'unavailable' });
  secret = 'secret';
});

it('what is cut off is not taken for whole', async () => {
  const { put } = own();
  await put('x', Readable.from([randomBytes(5_000_000)]));
  const reading = await theirs.get('x');
  await expect(
    (async () => {
      let seen = 0;
      for await (const chunk of reading) {
        seen += (chunk as Buffer).length;
        if (seen > 100_000) await server.stop();
      }
    })(),
  ).rejects.toMatchObject({ code: 'unavailable' });
});
