import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '#core/sleep.ts';
import { createCa, issuePair } from '#ground/ca.ts';
import { startLoad, startSockets } from '#test/http-driver.ts';
import type { PoolHost } from '#test/pool/host.ts';
import { startWeb } from '#test/web/start.ts';
import { type Pool, startPool } from '#test/xcaas.ts';

/** What a load balancer can do, asked for as a user does, on a pool of one host. */
let pool: Pool;
let host: PoolHost;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xcaas-features-'));
  pool = await startPool({ hosts: 1, verbose: process.env.XCAAS_VERBOSE !== undefined });
  host = pool.first;
  for (const name of ['one', 'two', 'api']) await startWeb(host, { name: `web-${name}`, network: 'xcaas' });
  await pool.json(['lb', 'create', '--listen', 'http:80', '--publish', '8080:80', 'web']);
  await pool.json(['lb', 'add_container', 'web', '-l', 'container=web-one', '-l', 'port=8080']);
});
afterAll(() => {
  pool?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const curl = async (...args: string[]) => (await host.run('curl', ['-s', '-m', '10', ...args])).trim();
const status = (name = 'web') =>
  pool.json<{ status: string; sentence: string; instances: { generation: string; liveVersion: number }[] }>(['lb', 'status', name]);

describe('a load balancer', () => {
  it('sends hosts and paths where rules say', async () => {
    await pool.json(['lb', 'add_container', 'web', '-l', 'container=web-two', '-l', 'port=8080', '-l', 'host=two.example']);
    await pool.json(['lb', 'add_container', 'web', '-l', 'container=web-api', '-l', 'port=8080', '-l', 'path=/api']);

    expect(JSON.parse(await curl('http://127.0.0.1:8080/')).container).toBe('web-one');
    expect(JSON.parse(await curl('-H', 'Host: two.example', 'http://127.0.0.1:8080/')).container).toBe('web-two');
    expect(JSON.parse(await curl('http://127.0.0.1:8080/api/x')).container).toBe('web-api');
    const rules = await pool.json<{ host?: string; path: string }[]>(['lb', 'rule', 'list', 'web']);
    expect(rules).toHaveLength(3);
  });

  it('carries the headers that tell a backend who asked', async () => {
    const { headers } = JSON.parse(await curl('http://127.0.0.1:8080/headers')) as { headers: Record<string, string> };

    expect(headers['x-forwarded-proto']).toBe('http');
    expect(headers['x-forwarded-for']).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(headers['x-request-id']).toMatch(/\S{8,}/);
  });

  it('ends TLS by the name asked for, with HTTP/2, and swaps a certificate without a reload', async () => {
    const ca = await createCa('test');
    const pem = async (name: string, hostName: string) => {
      const pair = await issuePair({ ca, cn: hostName, role: 'agent', addresses: [], dnsNames: [hostName], days: 10 });
      writeFileSync(join(folder, `${name}.pem`), pair.cert);
      writeFileSync(join(folder, `${name}.key`), pair.key);
      return [join(folder, `${name}.pem`), join(folder, `${name}.key`)] as const;
    };
    writeFileSync(join(folder, 'ca.pem'), ca.cert);
    await pool.json(['lb', 'listener', 'add', 'web', 'https:443']);
    const [cert, key] = await pem('first', 'one.example');
    await pool.json(['lb', 'cert', 'add', 'web', '--host', 'one.example', '--cert', cert, '--key', key]);
    const target = await gatewayAddress('web-1');
    const ask = () =>
      curl(
        '--cacert',
        join(folder, 'ca.pem'),
        '--resolve',
        `one.example:443:${target}`,
        '-o',
        '/dev/null',
        '-w',
        '%{http_code} %{http_version}',
        'https://one.example/',
      );
    await waitFor(async () => ((await ask().catch(() => '')) === '200 2' ? true : undefined), { timeoutMs: 20_000, intervalMs: 200 });
    expect(await ask()).toBe('200 2');

    const before = (await status()).instances[0]?.generation;
    const serial = () => serialOf(target);
    const old = await serial();
    const [newCert, newKey] = await pem('second', 'one.example');
    await pool.json(['lb', 'cert', 'add', 'web', '--host', 'one.example', '--cert', newCert, '--key', newKey]);
    const swapped = await waitFor(async () => ((await serial()) === old ? undefined : true), { timeoutMs: 20_000, intervalMs: 200 });
    expect(swapped).toBe(true);
    expect((await status()).instances[0]?.generation).toBe(before);
  });

  it('refuses a certificate that does not match its key or host, and changes nothing', async () => {
    await waitFor(async () => ((await status()).status === 'READY' ? true : undefined), { timeoutMs: 20_000 });
    const args = (certName: string, keyName: string, hostName: string) => [
      'lb',
      'cert',
      'add',
      'web',
      '--host',
      hostName,
      '--cert',
      join(folder, certName),
      '--key',
      join(folder, keyName),
      '--json',
    ];
    const wrongKey = await pool.cli(args('first.pem', 'second.key', 'one.example'));
    expect(wrongKey.code).toBe(2);
    expect(JSON.parse(wrongKey.stdout).error.message).toContain('does not belong to the certificate');
    const wrongHost = await pool.cli(args('first.pem', 'first.key', 'other.example'));
    expect(wrongHost.code).toBe(2);
    expect(JSON.parse(wrongHost.stdout).error.message).toContain('is not for other.example');
    expect((await status()).status).toBe('READY');
  });

  it('carries tcp beside http, added later', async () => {
    await pool.json(['lb', 'create', '--listen', 'tcp:9000', '--publish', '9000:9000', 'raw']);
    await pool.json(['lb', 'add_container', 'raw', '-l', 'container=web-one', '-l', 'port=8080']);

    const answered = await waitFor(
      async () =>
        curl('http://127.0.0.1:9000/').then(
          (text) => (text === '' ? undefined : text),
          () => undefined,
        ),
      { timeoutMs: 20_000 },
    );
    expect(JSON.parse(answered ?? '{}').container).toBe('web-one');
    await pool.json(['lb', 'remove_container', 'raw', '-l', 'container=web-one', '--drain', '1']);
    await pool.json(['lb', 'destroy', 'raw', '--yes']);
  });

  it('keeps WebSockets open while endpoints change', async () => {
    const sockets = await startSockets({ url: 'ws://127.0.0.1:8080/ws', count: 50, inHost: host });
    await waitFor(async () => ((await sockets.report()).opened === 50 ? true : undefined), { timeoutMs: 20_000 });
    for (let round = 0; round < 3; round++) {
      await pool.json(['lb', 'add_container', 'web', '-l', 'container=web-two', '-l', 'port=8080']);
      await pool.json(['lb', 'remove_container', 'web', '-l', 'container=web-two', '-l', 'path=/', '--drain', '0']);
    }
    const report = await sockets.stop();

    expect(report).toMatchObject({ opened: 50, died: [] });
  });

  it('says what is not built yet', async () => {
    for (const args of [
      ['lb', 'create', '--listen', 'udp:53', 'dns'],
      ['lb', 'rule', 'add', 'web', '--path', '/x', '--to', 'a:50,b:50'],
      ['lb', 'set', 'web', 'rate-limit=10'],
      ['fs', 'create', '-d', 'xfs'],
    ]) {
      const answer = await pool.cli([...args, '--json']);
      expect({ args, code: answer.code, error: JSON.parse(answer.stdout).error.code }).toEqual({ args, code: 1, error: 'not_implemented' });
    }
  });

  it('goes on serving with Consul, control, agent and its own sidecar dead, and after a restart of its container with all of them dead', async () => {
    const load = await startLoad({ url: 'http://127.0.0.1:8080/', rps: 50, inHost: host });
    await host.run('docker', ['kill', 'xcaas-consul', 'xcaas-control', 'xcaas-agent']);
    await host.run('docker', ['exec', '-u', '0', 'web-1', 'sh', '-c', 'kill -9 $(pidof node)']);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const report = await load.stop();
    expect(report.failures).toEqual([]);

    await host.run('docker', ['restart', '-t', '5', 'web-1']);
    const served = await waitFor(
      async () =>
        curl('http://127.0.0.1:8080/').then(
          (text) => (text.includes('web-one') ? true : undefined),
          () => undefined,
        ),
      { timeoutMs: 20_000 },
    );
    expect(served).toBe(true);

    await host.run('docker', ['start', 'xcaas-consul', 'xcaas-control', 'xcaas-agent']);
    const healed = await waitFor(
      async () =>
        status().then(
          (seen) => (seen.status === 'READY' ? true : undefined),
          () => undefined,
        ),
      { timeoutMs: 90_000, intervalMs: 500 },
    );
    expect(healed).toBe(true);
  });
});

/** The member's address on the host's own bridge, where the host reaches it. */
async function gatewayAddress(container: string): Promise<string> {
  const text = await host.run('docker', ['network', 'inspect', 'docker_gwbridge', '-f', '{{json .Containers}}']);
  const id = (await host.run('docker', ['inspect', '-f', '{{.Id}}', container])).trim();
  const containers = JSON.parse(text) as Record<string, { IPv4Address: string }>;
  return containers[id]?.IPv4Address.split('/')[0] ?? '';
}

async function serialOf(address: string): Promise<string> {
  const script = [
    "const s = require('tls').connect({ host: process.argv[1], port: 443, servername: 'one.example', rejectUnauthorized: false }, () => {",
    'console.log(s.getPeerCertificate().serialNumber); s.end(); });',
  ].join('\n');
  return (await host.run(process.execPath, ['-e', script, address])).trim();
}
