import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Agent } from '#agent/agent.ts';
import { waitFor } from '#core/sleep.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { MemberSpec } from '#pool/member.ts';
import { createTestHost, execIn, freePort, type TestHost } from './agent-fixture.ts';

let host: TestHost;
let agent: Agent;
let client: AgentClient;
const name = `m${process.pid}`;
const id = `${name}-1`;

beforeAll(async () => {
  host = await createTestHost();
  agent = await host.start();
  client = host.client();
});
afterAll(() => host?.stop());

function spec(over: Partial<MemberSpec> = {}): MemberSpec {
  return MemberSpec.parse({
    id,
    kind: 'cache',
    service: name,
    image: host.image,
    network: host.network,
    aliases: [name],
    env: { A: 'b c' },
    volumes: { data: '/data' },
    stopTimeoutSeconds: 5,
    ...over,
  });
}
const inspect = (container = id) => host.docker.getContainer(container).inspect();
const secrets = { consul_token: 't-1', password: 'geheim' };

test('a member is created with its mounts, secrets and limits, and the image’s user may use them', async () => {
  const { member, change } = await client.putMember({ spec: spec({ memoryBytes: 64 * 2 ** 20, cpuset: '0' }), secrets });
  expect(change).toBe('created');
  expect(member).toMatchObject({ id, kind: 'cache', service: name, image: host.image, state: 'running', health: 'none' });
  const container = await inspect();
  expect(container.HostConfig).toMatchObject({ RestartPolicy: { Name: 'unless-stopped' }, CpusetCpus: '0', Memory: 64 * 2 ** 20 });
  expect(container.Config.Hostname).toBe(id);
  expect(container.NetworkSettings.Networks[host.network]?.IPAddress).toBe(member.address);
  const script =
    'id -u; cat /run/secrets/password; echo; touch /data/x /run/member/x && stat -c %a /run/secrets/password; touch /run/secrets/x 2>&1 | tail -1';
  const { output } = await execIn(host.docker, id, ['sh', '-c', script]);
  expect(output).toContain('1234\ngeheim\n400\n');
  expect(output).toMatch(/Read-only|Permission denied/);
  const sealed = await readFile(join(host.paths.agentState, 'secrets', `${id}.sealed`), 'utf8');
  expect(sealed).not.toContain('geheim');
  expect(JSON.stringify(container)).not.toContain('geheim');
});

test('the same again changes nothing; other secrets change the files only; the process goes on', async () => {
  const { Pid } = (await inspect()).State;
  const same = spec({ memoryBytes: 64 * 2 ** 20, cpuset: '0' });
  expect((await client.putMember({ spec: same, secrets })).change).toBe('none');
  expect((await client.putMember({ spec: same, secrets: { password: 'anders' } })).change).toBe('secrets');
  expect((await inspect()).State.Pid).toBe(Pid);
  const { output } = await execIn(host.docker, id, ['sh', '-c', 'cat /run/secrets/password; ls /run/secrets']);
  expect(output).toBe('anderspassword\n');
});

test('another specification replaces the container and keeps the data', async () => {
  const before = await inspect();
  await execIn(host.docker, id, ['sh', '-c', 'echo kept > /data/file']);
  const { change, member } = await client.putMember({ spec: spec(), secrets });
  expect(change).toBe('replaced');
  expect(member.containerId).not.toBe(before.Id);
  expect((await execIn(host.docker, id, ['cat', '/data/file'])).output).toBe('kept\n');
  const names = (await host.docker.listContainers({ all: true, filters: { label: [`xcaas.member=${id}`] } })).map(({ Names }) => Names[0]);
  expect(names).toEqual([`/${id}`]);
});

test('a port that a container or a process has is named, nothing is left behind, and what ran goes on running', async () => {
  const port = await freePort();
  const holder = await host.docker.createContainer({
    name: `${name}-holder`,
    Image: host.image,
    HostConfig: { PortBindings: { '80/tcp': [{ HostPort: String(port) }] } },
    ExposedPorts: { '80/tcp': {} },
  });
  await holder.start();
  try {
    const other = spec({ id: `${name}-2`, publish: [{ hostPort: port, port: 80, protocol: 'tcp' }] });
    await expect(client.putMember({ spec: other, secrets })).rejects.toMatchObject({
      code: 'port_taken',
      message: expect.stringContaining(`port ${port} is taken by the container ${name}-holder`),
    });
    expect(await readdir(join(host.paths.agentState, 'members'))).toEqual([`${id}.json`]);
    const before = (await inspect()).Id;
    await expect(client.putMember({ spec: spec({ publish: other.publish }), secrets })).rejects.toMatchObject({ code: 'port_taken' });
    expect((await inspect()).Id).toBe(before);
    expect((await inspect()).State.Running).toBe(true);
  } finally {
    await holder.remove({ force: true });
  }
  const process = createServer();
  await new Promise<void>((resolve) => process.listen(port, '0.0.0.0', resolve));
  try {
    await expect(
      client.putMember({ spec: spec({ publish: [{ hostPort: port, port: 80, protocol: 'tcp' }] }), secrets }),
    ).rejects.toMatchObject({
      message: expect.stringContaining(`port ${port} is taken by a process of this host`),
    });
  } finally {
    await new Promise((resolve) => process.close(resolve));
  }
});

test('a container of that name that is not ours is left alone', async () => {
  const foreign = `${name}-3`;
  const theirs = await host.run(foreign, { 'xcaas.member': foreign });
  await expect(client.putMember({ spec: spec({ id: foreign }), secrets })).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(foreign),
  });
  await expect(client.deleteMember(foreign)).rejects.toMatchObject({ code: 'conflict' });
  expect((await inspect(foreign)).Id).toBe(theirs);
  expect((await inspect(foreign)).State.Running).toBe(true);
  await host.remove(theirs);
});

test('what is missing is said: image, network', async () => {
  await expect(client.putMember({ spec: spec({ id: `${name}-4`, image: `sha256:${'0'.repeat(64)}` }), secrets })).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('does not have the image'),
  });
  await expect(client.putMember({ spec: spec({ id: `${name}-4`, network: 'no-such-net' }), secrets })).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('no-such-net'),
  });
  expect((await client.members()).map((member) => member.id)).toEqual([id]);
});

test('stopped by hand it comes back; a tmpfs emptied by a reboot is filled again first, with control dead', async () => {
  await agent.close();
  await host.docker.getContainer(id).stop();
  await rm(host.paths.secretsRun, { recursive: true });
  await rm(host.paths.membersRun, { recursive: true });
  // What an engine does at boot: it fails, since the folders are missing, and does not make empty ones.
  await expect(host.docker.getContainer(id).start()).rejects.toThrow(/bind source path does not exist/);
  agent = await host.start();
  const running = await waitFor(async () => ((await inspect()).State.Running ? true : undefined), { timeoutMs: 20_000 });
  expect(running).toBe(true);
  expect((await execIn(host.docker, id, ['cat', '/run/secrets/password'])).output).toBe('geheim');
  expect((await stat(host.paths.secretsRun)).isDirectory()).toBe(true);

  await host.docker.getContainer(id).remove({ force: true });
  const again = await waitFor(async () => ((await client.members())[0]?.state === 'running' ? true : undefined), { timeoutMs: 20_000 });
  expect(again).toBe(true);
  expect((await execIn(host.docker, id, ['cat', '/data/file'])).output).toBe('kept\n');
});

test('a volume that is not mounted is not replaced by an empty one', async () => {
  const data = join(host.paths.volumes, id, 'data');
  await host.docker.getContainer(id).stop();
  await host.docker.getContainer(id).remove();
  await rename(data, `${data}.away`);
  await expect(client.putMember({ spec: spec(), secrets })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('had data'),
  });
  await rename(`${data}.away`, data);
  expect((await client.putMember({ spec: spec(), secrets })).member.state).toBe('running');
});

test('stopped through the system it stays stopped until it is asked for again', async () => {
  await client.stop(id, 5);
  await new Promise((resolve) => setTimeout(resolve, 6500));
  expect((await inspect()).State.Running).toBe(false);
  expect((await client.putMember({ spec: spec(), secrets })).change).toBe('started');
});

test('calls go through to the sidecar’s socket', async () => {
  await expect(client.memberAdmin(id, 'GET', '/health')).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining(id),
  });
  const folder = join(host.paths.membersRun, id);
  await mkdir(folder, { recursive: true });
  const sidecar = createServer((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (chunk) => {
      body += chunk;
    });
    incoming.on('end', () => {
      outgoing
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ method: incoming.method, url: incoming.url, body }));
    });
  });
  await new Promise<void>((resolve) => sidecar.listen(join(folder, 'admin.sock'), resolve));
  try {
    expect(await client.memberAdmin(id, 'GET', '/peers?x=1')).toEqual({ method: 'GET', url: '/peers?x=1', body: '' });
    expect(await client.memberAdmin(id, 'POST', '/do', { a: 1 })).toEqual({ method: 'POST', url: '/do', body: '{"a":1}' });
  } finally {
    await new Promise((resolve) => sidecar.close(resolve));
  }
});

test('removed, its data stays; removed with purge, nothing does', async () => {
  expect(await client.deleteMember(id)).toEqual({ removed: true, purged: false });
  expect(await client.members()).toEqual([]);
  expect(await readFile(join(host.paths.volumes, id, 'data', 'file'), 'utf8')).toBe('kept\n');
  expect((await client.putMember({ spec: spec(), secrets })).change).toBe('created');
  expect((await execIn(host.docker, id, ['cat', '/data/file'])).output).toBe('kept\n');
  expect(await client.deleteMember(id, { purge: true })).toEqual({ removed: true, purged: true });
  expect(await client.deleteMember(id, { purge: true })).toEqual({ removed: false, purged: false });
  for (const folder of [host.paths.volumes, host.paths.secretsRun, host.paths.membersRun]) expect(await readdir(folder)).toEqual([]);
  expect(await readdir(join(host.paths.agentState, 'secrets'))).toEqual([]);
});

test('a damaged specification on disk is named and does not keep the others from starting', async () => {
  await client.putMember({ spec: spec(), secrets });
  await agent.close();
  await writeFile(join(host.paths.agentState, 'members', 'broken.json'), '{');
  await host.docker.getContainer(id).stop();
  agent = await host.start();
  expect(await waitFor(async () => ((await inspect()).State.Running ? true : undefined), { timeoutMs: 20_000 })).toBe(true);
  await client.deleteMember(id, { purge: true });
});
