import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type Agent, startAgent } from '#agent/agent.ts';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { createDocker, type Docker } from '#core/docker.ts';
import { createLogger, type Logger, silentLogger } from '#core/log.ts';
import { type HostPaths, hostPaths } from '#core/paths.ts';
import { mintAgentToken } from '#ground/acl.ts';
import { createCa, issuePair, type KeyPair } from '#ground/ca.ts';
import { type HostRecord, writeHostRecord } from '#ground/host-record.ts';
import { type AgentClient, createAgentClient } from '#pool/agent-client.ts';
import { startConsul, type TestConsul } from '#test/consul.ts';

/** One host of a pool, made without its setup: certificates, a real Consul, the machine's engine, and folders of its own. */
export interface TestHost {
  host: HostRecord;
  paths: HostPaths;
  ca: KeyPair;
  control: KeyPair;
  consul: ConsulClient;
  testConsul: TestConsul;
  docker: Docker;
  /** A bridge network; removed with all containers on it. */
  network: string;
  ports: { api: number; agent: number; control: number };
  /** `debian` that waits for SIGTERM, runs as 1234:1234, and has a HEALTHCHECK in `healthImage`. */
  image: string;
  healthImage: string;
  start(log?: Logger): Promise<Agent>;
  client(fence?: number): AgentClient;
  /** A container of a user; removed at the end. @returns its id */
  run(name: string, labels?: Record<string, string>, options?: { network?: string; image?: string }): Promise<string>;
  remove(name: string): Promise<void>;
  stop(): Promise<void>;
}

const WAIT = "trap 'exit 0' TERM; sleep infinity & wait";

export async function createTestHost(): Promise<TestHost> {
  const tag = randomBytes(4).toString('hex');
  const root = await mkdtemp(join(tmpdir(), 'xcaas-agent-'));
  const paths = hostPaths(root);
  const docker = createDocker();
  const host: HostRecord = {
    id: randomUUID(),
    name: `host-${tag}`,
    address: '127.0.0.1',
    group: 'g1',
    rack: 'r1',
    labels: {},
    manager: false,
  };
  const testConsul = await startConsul({ config: { node_name: host.name } });
  const consul = createConsul({ socketPath: testConsul.socketPath, token: testConsul.token });
  const ca = await createCa('test');
  const own = await issuePair({ ca, cn: host.id, role: 'agent', addresses: [host.address] });
  const control = await issuePair({ ca, cn: host.id, role: 'control', addresses: [host.address] });
  for (const folder of [paths.pki, paths.tokens, dirname(paths.consulSocket)]) await mkdir(folder, { recursive: true });
  await writeHostRecord(paths.hostFile, host);
  await writeFile(join(paths.pki, 'ca.pem'), ca.cert);
  await writeFile(join(paths.pki, 'host.pem'), own.cert);
  await writeFile(join(paths.pki, 'host.key'), own.key);
  await writeFile(join(paths.tokens, 'agent'), await mintAgentToken(consul, host));
  await symlink(testConsul.socketPath, paths.consulSocket);

  const network = `xcaas-test-${tag}`;
  await docker.createNetwork({ Name: network, Driver: 'bridge' });
  const containers = new Set<string>();
  const image = await commitImage(docker, `xcaas-test-agent:${tag}`, [`CMD ${JSON.stringify(['sh', '-c', WAIT])}`, 'USER 1234:1234']);
  const healthImage = await commitImage(docker, `xcaas-test-agent:${tag}-health`, [
    `CMD ${JSON.stringify(['sh', '-c', WAIT])}`,
    `HEALTHCHECK --interval=1s --timeout=2s --retries=1 CMD test -e /tmp/healthy`,
  ]);
  const ports = { api: await freePort(), agent: await freePort(), control: await freePort() };
  const agents: Agent[] = [];

  return {
    host,
    paths,
    ca,
    control,
    docker,
    testConsul,
    network,
    ports,
    image,
    healthImage,
    consul,
    async start(log = process.env.XCAAS_LOG ? createLogger({ name: 'agent' }) : silentLogger()) {
      const agent = await startAgent({ paths, dockerSocket: '/var/run/docker.sock', log, poolNetwork: network, ports });
      agents.push(agent);
      return agent;
    },
    client: (fence = 1) => createAgentClient({ host, port: ports.agent, tls: () => ({ ca: ca.cert, ...control }), fence: () => fence }),
    async run(name, labels = {}, options = {}) {
      const created = await docker.createContainer({
        name,
        Image: options.image ?? image,
        Labels: labels,
        HostConfig: { NetworkMode: options.network ?? network },
      });
      containers.add(created.id);
      await created.start();
      return created.id;
    },
    async remove(name) {
      await docker.getContainer(name).remove({ force: true });
    },
    async stop() {
      for (const agent of agents) await agent.close().catch(() => undefined);
      const left = await docker.listContainers({ all: true, filters: { label: [`xcaas.host=${host.id}`] } });
      for (const id of [...containers, ...left.map(({ Id }) => Id)]) {
        await docker
          .getContainer(id)
          .remove({ force: true })
          .catch(() => undefined);
      }
      await docker
        .getNetwork(network)
        .remove()
        .catch(() => undefined);
      for (const one of [image, healthImage]) {
        await docker
          .getImage(one)
          .remove({ force: true })
          .catch(() => undefined);
      }
      consul.close();
      await testConsul.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function commitImage(docker: Docker, name: string, changes: string[]): Promise<string> {
  const base = await docker.createContainer({ Image: 'debian:trixie-slim', Cmd: ['true'] });
  const [repo, tag] = name.split(':');
  try {
    await base.commit({ repo, tag, changes: changes.join('\n') });
  } finally {
    await base.remove();
  }
  return (await docker.getImage(name).inspect()).Id;
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}

/** What a command in a container says. */
export async function execIn(docker: Docker, id: string, command: string[], user?: string): Promise<{ code: number; output: string }> {
  const exec = await docker
    .getContainer(id)
    .exec({ Cmd: command, AttachStdout: true, AttachStderr: true, ...(user ? { User: user } : {}) });
  const stream = await exec.start({});
  const output = new PassThrough();
  docker.modem.demuxStream(stream, output, output);
  stream.once('end', () => output.end());
  let text = '';
  for await (const chunk of output) text += String(chunk);
  return { code: (await exec.inspect()).ExitCode ?? -1, output: text };
}
