import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { AppError, messageOf, systemCode } from '#core/errors.ts';
import type { Role } from '#ground/ca.ts';

/** This host's certificate (role `agent`), asked for at each connection so that a rotated one is used at once. */
export interface Identity {
  current(): { ca: string; cert: string; key: string };
}

/**
 * Connects to another program of the pool and makes sure of its role.
 *
 * @throws AppError `unavailable` when it cannot be reached or is not what it should be
 */
export function connectPeer(
  { host, port, role, timeoutMs }: { host: string; port: number; role: Role; timeoutMs: number },
  identity: Identity,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      ...identity.current(),
      checkServerIdentity: (name, cert) => {
        const wrong = checkServerIdentity(name, cert);
        if (wrong !== undefined) return wrong;
        return cert.subject.OU === role ? undefined : new Error(`its certificate has the role "${cert.subject.OU ?? ''}", not ${role}`);
      },
    });
    const timer = setTimeout(() => socket.destroy(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeListener('error', failed);
      resolve(socket);
    });
    const failed = (cause: Error) => {
      clearTimeout(timer);
      const why = systemCode(cause) === 'ECONNREFUSED' ? 'nothing listens there' : messageOf(cause);
      reject(new AppError('unavailable', `${role} at ${host}:${port} cannot be reached: ${why}`, { cause }));
    };
    socket.once('error', failed);
  });
}

/** A request over a connection of its own; the answer's body is a stream. */
export async function requestPeer(
  target: { host: string; port: number; role: Role; method: string; path: string; timeoutMs: number },
  identity: Identity,
): Promise<IncomingMessage> {
  const socket = await connectPeer(target, identity);
  return new Promise((resolve, reject) => {
    const outgoing = https.request({
      method: target.method,
      path: target.path,
      host: target.host,
      headers: { host: `${target.host}:${target.port}`, connection: 'close' },
      createConnection: () => socket,
    });
    outgoing.setTimeout(target.timeoutMs, () => outgoing.destroy(new Error(`no answer within ${target.timeoutMs} ms`)));
    outgoing.once('error', (cause) =>
      reject(new AppError('unavailable', `${target.role} at ${target.host}: ${messageOf(cause)}`, { cause })),
    );
    outgoing.once('response', resolve);
    outgoing.end();
  });
}

/** @param maxBytes of a body that is read as a whole */
export async function readJson(incoming: IncomingMessage, maxBytes = 16 * 2 ** 20): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > maxBytes) throw new AppError('too_large', `an answer is larger than ${maxBytes} bytes`);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new AppError('engine', 'an answer is not JSON', { cause });
  }
}
