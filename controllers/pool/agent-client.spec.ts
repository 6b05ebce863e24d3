import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AppError, errorBody } from '#core/errors.ts';
import { createCa, issuePair, type KeyPair, type Role } from '#ground/ca.ts';
import { createAgentClient } from '#pool/agent-client.ts';
import { testHost } from '#test/pool-hosts.ts';

/** Real certificates over real sockets: what is tried here is mostly what TLS refuses. */
describe('agent client', () => {
  const spec = { ...testHost(1).spec, name: 'host-a', address: '127.0.0.1' };
  let ca: KeyPair;
  let control: KeyPair;
  const servers: Server[] = [];
  const issue = (cn: string, role: Role, from = ca) => issuePair({ ca: from, cn, role, addresses: ['127.0.0.1'] });

  beforeAll(async () => {
    ca = await createCa('test');
    control = await issue('control', 'control');
  });
  const closeAll = () => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  };
  afterEach(closeAll);
  afterAll(closeAll);

  interface Seen {
    method: string;
    url: string;
    fence: unknown;
    body: string;
    client: string | undefined;
  }

  async function agentThat(answer: (seen: Seen) => unknown, pair?: KeyPair): Promise<{ port: number; seen: Seen[] }> {
    const seen: Seen[] = [];
    const { cert, key } = pair ?? (await issue(spec.id, 'agent'));
    const server = createServer({ ca: ca.cert, cert, key, requestCert: true, rejectUnauthorized: true }, async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      const client = (request.socket as TLSSocket).getPeerCertificate().subject?.OU;
      const one: Seen = {
        method: request.method!,
        url: request.url!,
        fence: request.headers['x-xcaas-fence'],
        body,
        client: String(client),
      };
      seen.push(one);
      const said = answer(one);
      if (said === undefined) return;
      const error = said instanceof AppError ? said : undefined;
      response.writeHead(error?.status ?? 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(error === undefined ? said : errorBody(error)));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { port: (server.address() as AddressInfo).port, seen };
  }

  const clientTo = (port: number, fence: number | undefined = 7, pair = control) =>
    createAgentClient({ host: spec, port, tls: () => ({ ca: ca.cert, ...pair }), fence: () => fence });

  it('shows its certificate, and its fence on what changes something only', async () => {
    const { port, seen } = await agentThat(({ method }) => (method === 'GET' ? { containers: [] } : { registrations: 2 }));
    const client = clientTo(port);
    expect(await client.findContainers('a/b c')).toEqual([]);
    expect(await client.drain('abc')).toEqual({ registrations: 2 });
    expect(seen).toMatchObject([
      { method: 'GET', url: '/v1/containers?find=a%2Fb+c', fence: undefined, client: 'control' },
      { method: 'POST', url: '/v1/containers/abc/drain', fence: '7' },
    ]);
  });

  it('changes nothing while it does not lead', async () => {
    const { port, seen } = await agentThat(() => ({ containers: [] }));
    const client = createAgentClient({ host: spec, port, tls: () => ({ ca: ca.cert, ...control }), fence: () => undefined });
    await expect(client.stop('abc', 5)).rejects.toMatchObject({ code: 'fenced' });
    await expect(client.memberAdmin('web-1', 'POST', '/reload')).rejects.toMatchObject({ code: 'fenced' });
    expect(await client.findContainers('x')).toEqual([]);
    expect(seen).toHaveLength(1);
  });

  it('hands on what the agent says, as it says it', async () => {
    const { port } = await agentThat(() => new AppError('unavailable', 'web-1 does not answer', { hint: 'lb status web' }));
    await expect(clientTo(port).memberAdmin('web-1', 'GET', '/status')).rejects.toMatchObject({
      code: 'unavailable',
      message: 'web-1 does not answer',
      hint: 'lb status web',
    });
  });

  it('asks sidecars by their path', async () => {
    const { port, seen } = await agentThat(({ body }) => ({ got: body }));
    expect(await clientTo(port).memberAdmin('web-1', 'PUT', '/tables?x=1', { a: 1 })).toEqual({ got: '{"a":1}' });
    expect(seen[0]).toMatchObject({ url: '/v1/members/web-1/admin/tables?x=1', fence: '7' });
  });

  it('names the host that cannot be reached, and the one that does not answer in time', async () => {
    const { port } = await agentThat(() => undefined);
    await expect(clientTo(port).images({ timeoutMs: 100 })).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('host host-a: '),
    });
    closeAll();
    await expect(clientTo(port).images()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('host host-a: ') });
  });

  it('does not take an answer that it did not ask for', async () => {
    const { port } = await agentThat(() => ({ images: [{ id: 'latest', tags: [], sizeBytes: 1 }] }));
    await expect(clientTo(port).images()).rejects.toMatchObject({ code: 'engine', message: expect.stringContaining('images.0.id') });
  });

  it.each([
    ['another role', () => issue(spec.id, 'control'), 'role "control"'],
    ['another host', () => issue('host-b', 'agent'), 'another host (host-b)'],
    ['another pool', async () => issue(spec.id, 'agent', await createCa('other')), 'cannot be reached'],
  ])('does not speak to a server of %s', async (_what, pair, says) => {
    const { port, seen } = await agentThat(() => ({ images: [] }), await pair());
    await expect(clientTo(port).images()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining(says) });
    expect(seen).toHaveLength(0);
  });

  it('uses a rotated certificate at the next call', async () => {
    const { port, seen } = await agentThat(() => ({ images: [] }));
    const pairs = [control, await issue('other', 'agent')];
    const client = createAgentClient({ host: spec, port, tls: async () => ({ ca: ca.cert, ...pairs.shift()! }), fence: () => 1 });
    await client.images();
    await client.images();
    expect(seen.map((each) => each.client)).toEqual(['control', 'agent']);
  });
});
