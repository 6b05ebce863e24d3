import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { createCa, issuePair, type KeyPair } from '#ground/ca.ts';
import type { TlsPaths } from '#member/tls-files.ts';
import { createRecipient } from './clone-client.ts';
import { createDonor } from './clone-server.ts';
import { createPeerClient } from './peer-client.ts';
import { type PeerServerOptions, startPeerServer } from './peer-server.ts';

let folder: string;
let ca: KeyPair;
const tls: Record<string, TlsPaths> = {};
const log = silentLogger();
const position = { gen: 'g2', boot: 'b', received: '0-1-42', from: 'adb-1' };

async function files(name: string, issuer: KeyPair, dnsName: string): Promise<TlsPaths> {
  const { cert, key } = await issuePair({ ca: issuer, cn: dnsName, role: 'member', addresses: [], dnsNames: [dnsName] });
  const paths = { ca: join(folder, `${name}.ca`), certificate: join(folder, `${name}.pem`), privateKey: join(folder, `${name}.key`) };
  await Promise.all([writeFile(paths.ca, issuer.cert), writeFile(paths.certificate, cert), writeFile(paths.privateKey, key)]);
  return paths;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xdb-peer-'));
  ca = await createCa('pool');
  tls.one = await files('one', ca, 'adb-1');
  tls.two = await files('two', ca, 'adb-2');
  tls.stranger = await files('stranger', await createCa('another pool'), 'adb-1');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.stop();
});

/** The sidecar of adb-1. */
async function serving(more: Partial<PeerServerOptions> = {}) {
  const server = startPeerServer({
    ...{ db: 'adb', port: 0, tls: tls.one as TlsPaths, log, secret: () => 'secret', position: async () => position },
    clone: async (socket) => void socket.end(),
    ...more,
  });
  open.push(server);
  const port = await waitFor(async () => server.port(), { timeoutMs: 2000, intervalMs: 5 });
  return { member: 'adb-1', address: '127.0.0.1', port: port ?? 0 };
}

const client = (more: Partial<Parameters<typeof createPeerClient>[0]> = {}) =>
  createPeerClient({ db: 'adb', member: 'adb-2', tls: tls.two as TlsPaths, secret: () => 'secret', ...more });

describe('two sidecars of one database', () => {
  it('tell each other how far they are', async () => {
    await expect(client().position(await serving(), 2000)).resolves.toEqual(position);
  });

  it('who does not know the secret is told nothing, whatever certificate it has', async () => {
    let asked = 0;
    const peer = await serving({
      position: async () => {
        asked += 1;
        return position;
      },
    });
    await expect(client({ secret: () => 'another' }).position(peer, 2000)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(client({ db: 'bdb' }).position(peer, 2000)).rejects.toMatchObject({ code: 'unavailable' });
    expect(asked).toBe(0);
  });

  it('who has a certificate of another pool is told nothing, and is believed nothing', async () => {
    const peer = await serving();
    await expect(client({ tls: tls.stranger as TlsPaths }).position(peer, 2000)).rejects.toMatchObject({ code: 'unavailable' });
    const impostor = await serving({ tls: tls.stranger as TlsPaths });
    await expect(client().position(impostor, 2000)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('another member at the address of the one that is meant is not spoken to', async () => {
    const peer = await serving({ tls: tls.two as TlsPaths });
    await expect(client().position(peer, 2000)).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('adb-1') });
  });

  it('what cannot be answered is refused with its reason; one that is silent is given up', async () => {
    const refusing = await serving({ position: () => Promise.reject(new Error('it follows nobody')) });
    await expect(client().position(refusing, 2000)).rejects.toMatchObject({ message: expect.stringContaining('it follows nobody') });
    const silent = await serving({ position: () => new Promise(() => undefined) });
    await expect(client().position(silent, 200)).rejects.toMatchObject({ code: 'timeout' });
  });
});

describe('a copy from one member to another', () => {
  const leading = { gen: 'g1', epoch: 3 };
  const payload = Buffer.alloc(3_000_000, 'all of a database ');

  function donor(
    dump: (to: NodeJS.WritableStream, options: { signal: AbortSignal }) => Promise<{ gtid: string }>,
    head: () => typeof leading | undefined = () => leading,
  ) {
    return serving({ clone: createDonor({ engine: { dump }, leading: head, log }) });
  }
  const dumpAll = async (to: NodeJS.WritableStream) => {
    await new Promise<void>((resolve, reject) => to.write(payload, (error) => (error ? reject(error) : resolve())));
    return { gtid: '0-1-42' };
  };

  function recipient() {
    const loaded: Buffer[] = [];
    const take = createRecipient({
      engine: {
        async load(from) {
          loaded.push(await buffer(from));
          return { gtid: '0-1-42' };
        },
      },
      peers: client(),
      log,
    });
    const signal = new AbortController();
    return {
      loaded,
      abort: () => signal.abort(),
      take: (peer: Parameters<typeof take>[0], expected = leading) =>
        take(peer, expected, { signal: signal.signal, onProgress: () => undefined }),
    };
  }

  it('arrives whole', async () => {
    const { take, loaded } = recipient();
    await expect(take(await donor(dumpAll))).resolves.toEqual({ gtid: '0-1-42' });
    expect(loaded[0]?.equals(payload)).toBe(true);
  });

  it('that breaks off in the middle is none', async () => {
    const { take, loaded } = recipient();
    const peer = await donor(async (to) => {
      to.write(payload);
      await new Promise((resolve) => setTimeout(resolve, 50));
      throw new Error('the disk of the donor is broken');
    });
    await expect(take(peer)).rejects.toThrow();
    expect(loaded).toEqual([]);
  });

  it('is not taken from who does not lead, or leads other data than the record says', async () => {
    const { take } = recipient();
    await expect(take(await donor(dumpAll, () => undefined))).rejects.toMatchObject({ message: expect.stringContaining('does not lead') });
    await expect(take(await donor(dumpAll), { gen: 'g1', epoch: 4 })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('ends when the donor leads no longer, and when nobody wants it any more', async () => {
    let head: typeof leading | undefined = leading;
    const endless = (to: NodeJS.WritableStream, { signal }: { signal: AbortSignal }) =>
      new Promise<{ gtid: string }>((_, reject) => {
        to.write(payload);
        signal.addEventListener('abort', () => reject(new Error('called off')));
      });
    const peer = await donor(endless, () => head);
    const first = recipient();
    const taking = first.take(peer);
    setTimeout(() => {
      head = undefined;
    }, 50);
    await expect(taking).rejects.toThrow();
    head = leading;
    const second = recipient();
    const again = second.take(peer);
    setTimeout(second.abort, 100);
    await expect(again).rejects.toThrow();
    expect([...first.loaded, ...second.loaded]).toEqual([]);
  });

  it('is given to one at a time', async () => {
    let finish: () => void = () => undefined;
    const peer = await donor(async (to) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return dumpAll(to);
    });
    const first = recipient().take(peer);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(recipient().take(peer)).rejects.toMatchObject({ message: expect.stringContaining('adb-2 is being given a copy') });
    finish();
    await expect(first).resolves.toEqual({ gtid: '0-1-42' });
  });
});
