import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { join } from 'node:path';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Backend, startBackend } from '#test/nginx-backend.ts';
import { docker, eventually, type NginxFixture, peer, startNginx, table } from '#test/nginx-fixture.ts';

const exec = promisify(execFile);
let nginx: NginxFixture;
let backend: Backend;

beforeAll(async () => {
  nginx = await startNginx({ workers: 2 });
  backend = await startBackend('a');
});
afterAll(async () => {
  await nginx?.stop();
  await backend?.stop();
});

describe('tables', () => {
  const good = () => table('web', 1, [backend.peer(nginx.gateway)]);
  const put = (body: unknown, path = '/groups/web') =>
    nginx.control('PUT', path, typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  const held = async () => (await nginx.workers()).map((worker) => worker.groups.web);

  test('a version not above the one held is refused; the same again is fine', async () => {
    const five = { ...good(), version: 5 };
    expect(JSON.parse((await put(five)).body)).toEqual({ group: 'web', version: 5, workers: 2 });
    expect((await put(five)).status).toBe(200);
    const stale = await put({ ...good(), version: 4 });
    expect(stale.status).toBe(409);
    expect(JSON.parse(stale.body)).toMatchObject({ error: 'stale', held: 5 });
    expect((await put({ ...five, peers: [backend.peer(nginx.gateway, { weight: 7 })] })).status).toBe(409);
    const [one, two] = await nginx.workers();
    expect(one!.worker).not.toBe(two!.worker);
    for (const worker of [one, two]) {
      const { peers, version } = worker!.groups.web!;
      expect(version).toBe(5);
      expect(peers).toEqual([{ ...five.peers[0], healthy: true, active: 0, requests: 0, failures: 0 }]);
    }
  });

  test('what is not a good table is refused with a reason and changes nothing', async () => {
    const before = await held();
    const next = { ...good(), version: 6 };
    const withPeer = (more: object) => ({ ...next, peers: [{ ...next.peers[0], ...more }] });
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const bad: [unknown, RegExp][] = [
      ['', /JSON/],
      ['{', /JSON/],
      ['null', /object/],
      ['[]', /name/],
      ['[1]', /object/],
      ['"web"', /object/],
      [deep, /JSON/],
      [`{"name":"web","version":6,"peers":${deep}}`, /JSON/],
      [Buffer.from([0xff, 0xfe, 0x00, 0x01]), /JSON/],
      [{ ...next, name: 'other' }, /name/],
      [{ ...next, version: '6' }, /version/],
      [{ ...next, version: 0 }, /version/],
      [{ ...next, version: 6.5 }, /version/],
      [{ ...next, version: 1e300 }, /version/],
      [JSON.stringify(next).replace('"version":6', '"version":NaN'), /JSON/],
      [JSON.stringify(next).replace('"version":6', '"version":0x10'), /JSON/],
      [{ ...next, peers: {} }, /peers|empty/],
      [{ ...next, peers: { 0: next.peers[0] } }, /peers/],
      [{ ...next, peers: 'x' }, /peers/],
      [{ ...next, peers: [null] }, /peers\[0\]/],
      [{ ...next, peers: [[]] }, /peers\[0\]/],
      [{ ...next, peers: undefined }, /peers/],
      [{ ...next, peers: [next.peers[0], next.peers[0]] }, /twice/],
      [{ ...next, peers: Array.from({ length: 20_001 }, (_, i) => peer(`p${i}`, '10.0.0.1', 80)) }, /at most/],
      [{ ...next, algorithm: 'random' }, /algorithm/],
      [{ ...next, algorithm: 7 }, /algorithm/],
      [{ ...next, hashKey: 'header:X\r\nY' }, /hashKey/],
      [{ ...next, hashKey: { a: 1 } }, /hashKey/],
      [{ ...next, stickyCookie: 'a b' }, /stickyCookie/],
      [{ ...next, stickyCookie: 'x; Domain=evil' }, /stickyCookie/],
      [{ ...next, tries: 11 }, /tries/],
      [{ ...next, tries: 0 }, /tries/],
      [{ ...next, maxFails: -1 }, /maxFails/],
      [{ ...next, failTimeoutMs: 1 }, /failTimeoutMs/],
      [{ ...next, active: { type: 'exec' } }, /active/],
      [{ ...next, active: { type: 'http', path: '/ HTTP/1.1\r\nHost: evil' } }, /path/],
      [{ ...next, active: { type: 'http', intervalMs: 1 } }, /intervalMs/],
      [withPeer({ id: '' }), /id/],
      [withPeer({ id: 'a\nb' }), /id/],
      [withPeer({ id: 'x'.repeat(600) }), /id/],
      [withPeer({ id: 7 }), /id/],
      [withPeer({ container: 'a\u0000b' }), /container/],
      [withPeer({ node: 'é' }), /node/],
      [withPeer({ port: 0 }), /port/],
      [withPeer({ port: 65_536 }), /port/],
      [withPeer({ port: '80' }), /port/],
      [withPeer({ weight: 0 }), /weight/],
      [withPeer({ weight: 1001 }), /weight/],
      [withPeer({ state: 'dead' }), /state/],
      ...[
        'example.com',
        'unix:/run/xlb/nginx.sock',
        '0.0.0.0',
        '255.255.255.255',
        '224.0.0.1',
        '10.0.0.256',
        '010.0.0.1',
        '10.0.0',
        '1',
        '10.0.0.1:80',
        ' 10.0.0.1',
        '10.0.0.1\n',
        '::',
        ':::1',
        '1::2::3',
        'fe80::1%eth0',
        '12345::1',
        '',
      ].map((address): [unknown, RegExp] => [withPeer({ address }), /address/]),
    ];
    for (const [body, reason] of bad) {
      const reply = await put(body);
      const shown = typeof body === 'string' ? body.slice(0, 80) : JSON.stringify(body).slice(0, 300);
      expect.soft(reply.status, shown).toBe(422);
      expect.soft(JSON.parse(reply.body).message, shown).toMatch(reason);
    }
    expect((await put({ ...next, peers: [] })).status).toBe(422);
    for (const path of ['/groups/', '/groups/A', '/groups/a%20b', `/groups/${'x'.repeat(49)}`, '/groups/-a']) {
      expect.soft((await put(next, path)).status, path).toBe(422);
    }
    expect((await nginx.control('POST', '/groups/web', JSON.stringify(next))).status).toBe(404);
    expect((await nginx.control('GET', '/nothing')).status).toBe(404);
    expect(await held()).toEqual(before);
    expect((await nginx.get('web')).status).toBe(200);
  });

  test('half a request changes nothing and ties nobody up', async () => {
    const before = await held();
    for (let i = 0; i < 20; i++) {
      const half = request({
        socketPath: join(nginx.folder, 'run/nginx.sock'),
        method: 'PUT',
        path: '/groups/web',
        headers: { 'content-length': 5000 },
      });
      half.on('error', () => undefined);
      half.write('{"name":');
      setTimeout(() => half.destroy(), 20);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await held()).toEqual(before);
  });

  test('empty only when it is said; deleted is gone; IPv6 and 10,000 peers are fine', async () => {
    expect((await put({ ...good(), version: 10, peers: [] }, '/groups/web?empty=1')).status).toBe(200);
    expect((await nginx.get('web')).status).toBe(503);
    expect((await nginx.control('DELETE', '/groups/web')).status).toBe(200);
    expect((await nginx.control('DELETE', '/groups/web')).status).toBe(404);
    expect(await held()).toEqual([undefined, undefined]);
    // After a delete any version begins anew.
    expect((await put({ ...good(), peers: [peer('six', 'fd00::1:2', 80), backend.peer(nginx.gateway)] })).status).toBe(200);
    expect((await nginx.get('web')).body).toBe('a');
    const many = Array.from({ length: 10_000 }, (_, i) =>
      peer(`service:${i}`.padEnd(60, 'x'), `10.1.${i >> 8}.${i & 255}`, 80, { state: 'down' }),
    );
    // The same again is 200 once it is live: a machine with much else to do may answer 504 before that.
    await eventually(async () => (await put({ ...good(), version: 2, peers: many })).status === 200, '10,000 peers');
    expect((await held())[0]!.peers.length).toBe(10_000);
    expect((await nginx.control('DELETE', '/groups/web')).status).toBe(200);
  });
});

describe('certificates', () => {
  async function make(host: string): Promise<{ hosts: string[]; cert: string; key: string }> {
    const key = join(nginx.folder, `${host}.key`);
    const cert = join(nginx.folder, `${host}.crt`);
    const names = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
    await exec('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      ...names,
      '-keyout',
      key,
      '-out',
      cert,
    ]);
    return { hosts: [host], cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  }
  const open = (servername: string) =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connectTls({ host: nginx.address, port: 8443, servername, rejectUnauthorized: false }, () => resolve(socket));
      socket.on('error', reject);
    });
  const shown = async (servername: string): Promise<PeerCertificate> => {
    const socket = await open(servername);
    const certificate = socket.getPeerCertificate();
    socket.destroy();
    return certificate;
  };
  const put = (version: number, certs: object[]) => nginx.control('PUT', '/certs', JSON.stringify({ version, certs }));

  test('by name: exact, wildcard, else the first; swapped without a reload and without touching what is open', async () => {
    expect((await shown('a.example')).subject.CN).toBe('xlb');
    const [a, wild, other] = await Promise.all(['a.example', '*.example', 'other.test'].map(make));
    expect(JSON.parse((await put(1, [other!, a!, wild!])).body)).toEqual({ version: 1, workers: 2 });
    expect((await shown('a.example')).subject.CN).toBe('a.example');
    expect((await shown('A.EXAMPLE')).subject.CN).toBe('a.example');
    expect((await shown('b.example')).subject.CN).toBe('*.example');
    expect((await shown('x.b.example')).subject.CN).toBe('other.test');
    expect((await shown('nowhere.test')).subject.CN).toBe('other.test');

    const before = await nginx.pids();
    const standing = await open('a.example');
    const serial = (await shown('a.example')).serialNumber;
    const renewed = await make('a.example');
    expect((await put(2, [renewed, wild!])).status).toBe(200);
    const fresh = await Promise.all(Array.from({ length: 12 }, () => shown('a.example')));
    for (const certificate of fresh) expect(certificate.serialNumber).not.toBe(serial);
    standing.write('GET /nothing HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n');
    const answer = await new Promise<string>((resolve) => standing.once('data', (data) => resolve(String(data))));
    expect(answer).toMatch(/^HTTP\/1.1 404/);
    expect((await nginx.pids()).pids).toEqual(before.pids);
  });

  test('a pair that does not match is refused by name and changes nothing', async () => {
    const [a, b] = await Promise.all(['a.example', 'b.example'].map(make));
    const serial = (await shown('a.example')).serialNumber;
    const bad: [object[], RegExp][] = [
      [[a!, { ...b, key: a!.key }], /b\.example.*key/],
      [[{ ...b, key: 'nonsense' }], /b\.example.*key/],
      [[{ ...b, cert: 'nonsense' }], /b\.example.*certificate/],
      [[{ ...b, hosts: ['B EXAMPLE'] }], /hosts/],
      [[{ ...b, hosts: [] }], /hosts/],
      [[{ hosts: ['b.example'] }], /b\.example/],
      [[7 as unknown as object], /certs\[0\]/],
    ];
    for (const [certs, reason] of bad) {
      const reply = await put(9, certs);
      expect.soft(reply.status).toBe(422);
      expect.soft(JSON.parse(reply.body).message).toMatch(reason);
    }
    expect((await put(1, [a!])).status).toBe(409);
    expect((await shown('a.example')).serialNumber).toBe(serial);
  });

  test('those of the secrets are there from the first handshake on', async () => {
    const pair = await make('first.example');
    await writeFile(join(nginx.folder, 'secrets/certs.json'), JSON.stringify({ version: 50, certs: [pair] }));
    await nginx.restart(5);
    await eventually(async () => (await nginx.control('GET', '/generation')).status === 200, 'nginx');
    expect((await shown('first.example')).subject.CN).toBe('first.example');
    await put(51, []);
    expect((await shown('first.example')).subject.CN).toBe('xlb');
  });
});

describe('what peers and operators are told', () => {
  beforeAll(() => nginx.put(table('told', 1, [backend.peer(nginx.gateway)])));

  test('forwarding headers, and a request id that is passed on or made', async () => {
    backend.requests = [];
    await nginx.get('told', '/x?y=1', { headers: { host: 'site.test:8080', 'x-forwarded-for': '1.2.3.4', 'x-request-id': 'abc-123' } });
    const [{ headers, url }] = backend.requests as [Backend['requests'][number]];
    expect(url).toBe('/g/told/x?y=1');
    expect(headers).toMatchObject({
      host: 'site.test:8080',
      'x-forwarded-host': 'site.test:8080',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '8000',
      'x-request-id': 'abc-123',
    });
    expect(headers['x-forwarded-for']).toMatch(/^1\.2\.3\.4, /);
    backend.requests = [];
    await nginx.get('told', '/', { servername: 'tls.test', headers: { 'x-request-id': 'a b\tc' } });
    expect(backend.requests[0]!.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/);
    expect(backend.requests[0]!.headers['x-forwarded-proto']).toBe('https');
  });

  test('HTTP/2', async () => {
    const session = connectHttp2(`https://${nginx.address}:8443`, { rejectUnauthorized: false });
    const body = await new Promise<string>((resolve, reject) => {
      const stream = session.request({ ':path': '/g/told/' });
      let text = '';
      stream.on('data', (data) => {
        text += String(data);
      });
      stream.on('end', () => resolve(text));
      stream.on('error', reject);
    });
    session.close();
    expect(body).toBe('a');
  });

  test('the access log is a line of JSON for each request', async () => {
    await nginx.get('told', '/logged?"quoted"', { headers: { 'user-agent': 'a "b"\\' } });
    await eventually(async () => (await nginx.logs()).includes('/logged'), 'the line');
    const line = (await nginx.logs()).split('\n').find((text) => text.includes('/logged'))!;
    const entry = JSON.parse(line) as Record<string, unknown>;
    expect(entry).toMatchObject({
      method: 'GET',
      host: 'test',
      status: 200,
      bytes: 1,
      upstream: `${nginx.gateway}:${backend.port}`,
      upstream_status: '200',
      group: 'told',
      peer: 'a',
    });
    expect(entry.request_time).toBeTypeOf('number');
    expect(entry.request_id).toMatch(/^[0-9a-f]{32}$/);
  });

  test('metrics count requests, failures and retries, and survive a reload', async () => {
    const value = async (line: string) => {
      const { body } = await nginx.control('GET', '/metrics');
      const found = body.split('\n').find((text) => text.startsWith(line));
      return found === undefined ? undefined : Number(found.split(' ').at(-1));
    };
    const dead = peer('dead "quoted"', nginx.gateway, 1);
    await nginx.put(table('counted', 1, [backend.peer(nginx.gateway), dead], { maxFails: 0 }));
    await Promise.all(Array.from({ length: 20 }, () => nginx.get('counted')));
    await nginx.get('counted', '/?status=404');
    const retries = (await value('xlb_retries_total{group="counted"}'))!;
    expect(retries).toBeGreaterThan(0);
    const deadLabels = `{group="counted",peer="dead \\"quoted\\"",endpoint="${nginx.gateway}:1"}`;
    expect(await value(`xlb_peer_failures_total${deadLabels}`)).toBe(retries);
    expect(await value('xlb_responses_total{group="counted",class="2xx"}')).toBe(20);
    expect(await value('xlb_responses_total{group="counted",class="4xx"}')).toBe(1);
    expect(await value('xlb_request_seconds_count{group="counted"}')).toBe(21);
    const { body } = await nginx.control('GET', '/metrics');
    // Every line is a comment or `name{labels} value`.
    for (const line of body.trimEnd().split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_]+\{.*\} [0-9.e+-]+)$/);
    await nginx.reload({ workers: 2, generation: 'metrics' });
    expect(await value('xlb_responses_total{group="counted",class="2xx"}')).toBe(20);
    const slow = nginx.get('counted', '/?ms=500');
    const labels = `{group="counted",peer="a",endpoint="${nginx.gateway}:${backend.port}"}`;
    await eventually(async () => (await value(`xlb_peer_active${labels}`)) === 1, 'one in flight');
    await slow;
    expect(await value(`xlb_peer_active${labels}`)).toBe(0);
  });

  test('nginx that is refused its configuration starts with the last good one', async () => {
    const state = join(nginx.folder, 'state/nginx');
    await docker(
      'exec',
      nginx.container,
      'sh',
      '-c',
      'cp -r /var/lib/xlb/nginx/current/ /var/lib/xlb/nginx/good && ln -s good /var/lib/xlb/nginx/last-good',
    );
    await writeFile(join(state, 'current/nginx.conf'), 'nonsense;');
    await nginx.restart(5);
    await eventually(async () => (await nginx.control('GET', '/generation')).body.includes('"metrics"'), 'the last good generation');
    expect(await nginx.logs()).toContain('the last good one is used');
  });
});
