import { createServer } from 'node:https';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { createCa, issuePair, type KeyPair, type Role } from '#ground/ca.ts';
import { postToAny } from '#ground/control-client.ts';

describe('asking control', () => {
  let ca: KeyPair;
  const servers: ReturnType<typeof createServer>[] = [];
  beforeAll(async () => {
    ca = await createCa('test');
  });
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  async function serve(role: Role, status = 200): Promise<string> {
    const pair = await issuePair({ ca, cn: 'h', role, addresses: [] });
    const server = createServer(pair, (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(status === 200 ? { by: role } : { error: { code: 'token_expired', message: 'too late' } }));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.address() as { port: number }).port}`;
  }
  const ask = (...controls: string[]) => postToAny(controls, '/x', { material: { ca: ca.cert }, accept: (body) => body });

  it('takes the word of control, and goes on past who is down or is somebody else', async () => {
    expect(await ask('127.0.0.1:1', await serve('agent'), await serve('control'))).toEqual({ by: 'control' });
  });

  it('does not take the word of an agent that stands where control should be', async () => {
    await expect(ask(await serve('agent'))).rejects.toThrow('is not that of control');
  });

  it('says what control said, and that there was nobody to ask', async () => {
    await expect(ask(await serve('control', 410))).rejects.toSatisfy((error) => hasCode(error, 'token_expired'));
    await expect(ask()).rejects.toSatisfy((error) => hasCode(error, 'unavailable'));
  });
});
