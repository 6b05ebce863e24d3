import { X509Certificate } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { run } from '#core/spawn.ts';
import type { TestConsul } from '#test/consul.ts';
import type { LbSpec } from '#xlb/schema.ts';
import {
  type Backend,
  docker,
  eventually,
  type Member,
  memberToken,
  register,
  startBackend,
  startLabConsul,
  startMember,
  webSpec,
} from './xlb-sidecar-lab.ts';

const lb = 'mixed';
let server: TestConsul;
let consul: ConsulClient;
let member: Member;
let backends: Backend[];

const spec = (fields: Record<string, unknown> = {}): LbSpec =>
  webSpec(lb, {
    listeners: [
      { proto: 'http', port: 80 },
      { proto: 'https', port: 443 },
      { proto: 'tcp', port: 3306 },
    ],
    groups: [
      { name: 'default', services: ['web'] },
      { name: 'tcp-3306', services: ['data'] },
    ],
    rules: [
      { listen: '*', group: 'default' },
      { listen: 'tcp:3306', group: 'tcp-3306' },
    ],
    ...fields,
  });

async function put(value: LbSpec): Promise<void> {
  await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(value));
  const index = (await consul.kv.get(`xcaas/lb/${lb}/spec`))?.modifyIndex;
  await eventually('the specification is applied', async () => {
    const status = await member.status();
    return status.specIndex === index || status.sentence;
  });
}

/** A certificate and its key for a host, by the openssl of this machine. */
async function pair(host: string): Promise<{ cert: string; key: string }> {
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '90',
    '-subj',
    `/CN=${host}`,
  ];
  const { stdout, stderr, code } = await run('openssl', [...args, '-addext', `subjectAltName=DNS:${host}`, '-keyout', '-', '-out', '-']);
  if (code !== 0) throw new Error(stderr);
  const part = (label: string) => new RegExp(`-----BEGIN ${label}-----[^]*?-----END ${label}-----\n`).exec(stdout)?.[0] ?? '';
  return { cert: part('CERTIFICATE'), key: part('PRIVATE KEY') };
}

async function giveCerts(version: number, certs: { hosts: string[]; cert: string; key: string }[]): Promise<void> {
  const path = join(member.folder, 'secrets/certs.json');
  await writeFile(`${path}.new`, JSON.stringify({ version, certs }));
  await rename(`${path}.new`, path);
}

/** Name of the certificate that is shown to who asks for `servername`. */
function shown(servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: member.address, port: 443, servername, rejectUnauthorized: false }, () => {
      resolve(new X509Certificate(socket.getPeerCertificate(true).raw).subject);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

beforeAll(async () => {
  ({ server, client: consul } = await startLabConsul());
  backends = [await startBackend('a'), await startBackend('b')];
  await register(consul, 'web', backends[0]!);
  await register(consul, 'data', backends[1]!);
  member = await startMember({ lb, consulFolder: dirname(server.socketPath), token: await memberToken(consul, lb, `${lb}-1`) });
  await put(spec());
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.log(await member.logs());
});

afterAll(async () => {
  await member?.stop();
  for (const backend of backends ?? []) await backend.close();
  consul?.close();
  await server?.stop();
});

describe('a TCP listener', () => {
  it('leads to its service through HAProxy, which the sidecar shows as one more worker', async () => {
    expect((await member.get('/', { port: 3306 })).text).toBe('b');
    const haproxy = (await member.peers()).workers.find((worker) => worker.worker === 'haproxy');
    expect(haproxy?.groups['tcp-3306']?.peers).toMatchObject([{ id: 'data-b', container: 'b', state: 'up' }]);
  });

  it('follows changes while a connection stays open', async () => {
    const socket = connect({ host: member.address, port: 3306 });
    let closed = false;
    socket.on('close', () => {
      closed = true;
    });
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    await register(consul, 'data', backends[0]!);
    await eventually('a is served', async () => (await member.get('/', { port: 3306 })).text === 'a');
    await register(consul, 'data', backends[0]!, { meta: { state: 'draining' } });
    await eventually('a drains', async () =>
      (await member.peers()).workers.some((worker) =>
        worker.groups['tcp-3306']?.peers.some((peer) => peer.id === 'data-a' && peer.state === 'draining'),
      ),
    );
    for (let i = 0; i < 4; i++) expect((await member.get('/', { port: 3306 })).text).toBe('b');
    expect(closed).toBe(false);
    socket.destroy();
    await consul.agent.deregister('data-a');
  });

  it('comes and goes with the specification, and nothing else is touched', async () => {
    const { generation } = await member.status();
    await put(
      spec({
        listeners: [...spec().listeners, { proto: 'tcp', port: 3307 }],
        rules: [...spec().rules, { listen: 'tcp:3307', group: 'tcp-3307' }],
        groups: [...spec().groups, { name: 'tcp-3307', services: ['web'] }],
      }),
    );
    expect((await member.get('/', { port: 3307 })).text).toBe('a');
    await put(spec());
    await expect(member.get('/', { port: 3307 })).rejects.toThrow();
    expect((await member.status()).generation).toBe(generation);
  });

  it('is served again after HAProxy was killed', async () => {
    await member.exec('sh', '-c', 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = haproxy ] && kill -9 ${p#/proc/}; done');
    await eventually('it is served', async () => (await member.get('/', { port: 3306 })).text === 'b');
    await eventually('it is said', async () => (await member.status()).engineUp);
  });
});

describe('certificates', () => {
  it('go live without a reload, and a bad pair does not keep a good one away', async () => {
    const { generation } = await member.status();
    const [one, two] = [await pair('one.example'), await pair('two.example')];
    await giveCerts(1, [{ hosts: ['one.example'], ...one }]);
    await eventually('one is shown', async () => (await shown('one.example')) === 'CN=one.example');
    await giveCerts(2, [
      { hosts: ['one.example'], cert: one.cert, key: two.key },
      { hosts: ['two.example'], ...two },
    ]);
    await eventually('two is shown', async () => (await shown('two.example')) === 'CN=two.example');
    await eventually('it is said', async () =>
      (await member.status()).sentence.includes("the key of one.example is not its certificate's"),
    );
    await giveCerts(3, [
      { hosts: ['one.example'], ...one },
      { hosts: ['two.example'], ...two },
    ]);
    await eventually('one is shown again', async () => (await shown('one.example')) === 'CN=one.example');
    expect((await member.status()).generation).toBe(generation);
  });

  it('are shown again after nginx, and after the container, was started again', async () => {
    await member.restart();
    await eventually('two is shown', async () => (await shown('two.example')) === 'CN=two.example');
  });
});

describe('the admin interface', () => {
  it('answers health, metrics of all engines and the newest sentences', async () => {
    await eventually('it is healthy', async () => (await member.admin('GET', '/health')).status === 200);
    const metrics = String((await member.admin('GET', '/metrics')).body);
    expect(metrics).toMatch(/^xcaas_lb_engine_up 1$/m);
    expect(metrics).toMatch(/^xcaas_tcp_running 1$/m);
    expect(metrics).toMatch(/^xlb_|^xcaas_xlb_|^nginx_/m);
    expect((await member.admin('GET', '/logs?lines=5')).body).toMatchObject({
      lines: expect.arrayContaining([expect.stringContaining('mixed-1 serves')]),
    });
    expect((await member.admin('GET', '/nothing')).status).toBe(404);
    expect((await member.admin('GET', '/logs?lines=x')).status).toBe(400);
    expect(await docker('inspect', '--format', '{{.State.Health.Status}}', member.container)).not.toBe('unhealthy');
  });
});

describe('a full disk', () => {
  it('leaves the old structure in place and says so', async () => {
    const container = `${member.container}-full`;
    const folder = member.folder;
    await member.restart();
    // A second member of its own on a small file system, so that filling it harms nobody else.
    await docker(
      ...['run', '--detach', '--name', container, '--tmpfs', '/var/lib/xlb:size=2m,uid=7480,gid=7480', '--tmpfs', '/run/member:mode=777'],
      ...['--env', 'XCAAS_KIND=lb', '--env', `XCAAS_NAME=${lb}`, '--env', `XCAAS_MEMBER=${lb}-2`, '--env', 'XCAAS_NODE=here'],
      ...['--volume', `${dirname(server.socketPath)}:/run/consul`, '--volume', `${folder}/secrets:/run/secrets:ro`],
      await docker('inspect', '--format', '{{.Config.Image}}', member.container),
    );
    const ask = async (method: string, path: string) => {
      const script = `require('http').request({socketPath:'/run/member/admin.sock',method:'${method}',path:'${path}'},r=>r.pipe(process.stdout)).end()`;
      return JSON.parse(await docker('exec', container, 'node', '-e', script)) as {
        rejected?: string;
        generation: string;
        wantedGeneration: string;
        specIndex: number;
      };
    };
    try {
      await eventually('it serves', async () => {
        const status = await ask('GET', '/status');
        return status.specIndex > 0 && status.generation === status.wantedGeneration;
      });
      const { generation } = await ask('GET', '/status');
      await run('docker', ['exec', container, 'sh', '-c', 'cat /dev/zero >/var/lib/xlb/filler']);
      await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(spec({ listeners: [...spec().listeners, { proto: 'http', port: 81 }] })));
      await eventually('it is said', async () => (await ask('GET', '/status')).rejected?.match(/disk|space/) !== undefined);
      expect((await ask('GET', '/status')).generation).toBe(generation);
      await docker('exec', container, 'rm', '/var/lib/xlb/filler');
      const after = await ask('POST', '/reload-check');
      expect(after.rejected).toBeUndefined();
      expect(after.generation).toBe(after.wantedGeneration);
    } catch (error) {
      const { stdout, stderr } = await run('docker', ['logs', '--tail', '100', container]);
      console.log(`${stdout}${stderr}`);
      throw error;
    } finally {
      await run('docker', ['rm', '--force', '--volumes', container]);
    }
  });
});
