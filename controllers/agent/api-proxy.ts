import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { errorAnswer } from '#core/http.ts';
import type { Logger } from '#core/log.ts';
import { PORTS } from '#core/paths.ts';
import type { ControlAddresses } from './control-addresses.ts';
import { connectPeer, type Identity } from './tls-call.ts';

export interface ApiProxyOptions {
  identity: Identity;
  addresses: ControlAddresses;
  log: Logger;
  /** Whether the local Consul answers and knows a leader: a sentence when it does not. */
  consulTrouble(): Promise<string | undefined>;
  controlPort?: number;
}

/** `GET /v1/health` on loopback; answered also when nothing but the agent lives. */
export interface HealthAnswer {
  status: 'READY' | 'DEGRADED';
  agent: 'ok';
  /** `ok`, or why not. */
  control: string;
  consul: string;
  /** Where control was reached. */
  controlAddress?: string;
}

/** Headers that belong to one connection only (RFC 9110 §7.6.1). */
const HOP_HEADERS = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const CONNECT_TIMEOUT_MS = 2000;

/** The API on this host's loopback: everything goes to the control leader over mutual TLS, bodies as they come. */
export function createApiProxy({ identity, addresses, log, consulTrouble, controlPort = PORTS.control }: ApiProxyOptions): http.Server {
  /** The next control is tried only while nothing of the request has been sent: no command is ever given twice. */
  async function connectControl(): Promise<{ socket: TLSSocket; address: string }> {
    const failures: string[] = [];
    const candidates = await addresses.candidates();
    for (const address of candidates) {
      try {
        const target = { host: address, port: controlPort, role: 'control' as const, timeoutMs: CONNECT_TIMEOUT_MS };
        return { socket: await connectPeer(target, identity), address };
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    throw new AppError('unavailable', `no control replica of the pool answers: ${failures.join('; ') || 'none is known to this host'}`, {
      hint: 'services go on without it; see ./xcaas doctor, and docker logs xcaas-control on a manager host',
    });
  }

  async function forward(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { socket, address } = await connectControl();
    // Whoever asked may have gone meanwhile.
    if (incoming.destroyed || outgoing.destroyed) {
      socket.destroy();
      return;
    }
    return new Promise((resolve, reject) => {
      const request = https.request({
        method: incoming.method,
        path: incoming.url,
        headers: { ...endToEnd(incoming.headers), host: `${address}:${controlPort}`, connection: 'close' },
        createConnection: () => socket,
      });
      const broken = (cause: Error) => {
        socket.destroy();
        if (outgoing.headersSent) {
          // Half an answer must not look like a whole one.
          outgoing.destroy();
          resolve();
          return;
        }
        reject(
          new AppError('unavailable', `the connection to control at ${address} broke before it answered: ${messageOf(cause)}`, {
            hint: 'whether the command was carried out is not known; look with the status verb, then repeat it',
            cause,
          }),
        );
      };
      request.once('error', broken);
      request.once('response', (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
        answer.once('error', broken);
        answer.once('aborted', () => broken(new Error('the answer broke off')));
        answer.pipe(outgoing);
        outgoing.once('finish', resolve);
      });
      outgoing.once('close', () => {
        request.destroy();
        resolve();
      });
      incoming.pipe(request);
    });
  }

  async function health(outgoing: ServerResponse): Promise<void> {
    const [trouble, control] = await Promise.all([
      consulTrouble(),
      connectControl().then(
        ({ socket, address }) => {
          socket.destroy();
          return { address };
        },
        (error: unknown) => ({ trouble: messageOf(error) }),
      ),
    ]);
    const answer: HealthAnswer = {
      status: trouble === undefined && 'address' in control ? 'READY' : 'DEGRADED',
      agent: 'ok',
      control: 'address' in control ? 'ok' : control.trouble,
      consul: trouble ?? 'ok',
      ...('address' in control ? { controlAddress: control.address } : {}),
    };
    outgoing.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  const server = http.createServer((incoming, outgoing) => {
    const isHealth = incoming.method === 'GET' && incoming.url?.split('?')[0] === '/v1/health';
    const done = isHealth ? health(outgoing) : forward(incoming, outgoing);
    done.catch((thrown: unknown) => {
      const error = toAppError(thrown);
      if (error.code === 'internal') log.error({ err: thrown, method: incoming.method }, 'a request could not be forwarded');
      if (outgoing.headersSent) {
        outgoing.destroy();
        return;
      }
      const { status, text } = errorAnswer(error);
      outgoing.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(text);
    });
  });
  // A command with --wait, or events that are followed, may take as long as they take; control sets its own limits.
  server.requestTimeout = 0;
  return server;
}

function endToEnd(headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  const named = String(headers.connection ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase());
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => value !== undefined && !HOP_HEADERS.has(name) && !named.includes(name)),
  );
}
