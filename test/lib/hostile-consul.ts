import { chmod, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * What a Consul can do to those who ask it:
 * - `honest`: hands everything on to the real one
 * - `empty`: health queries are answered at once with an empty list and a higher index, consistent reads included
 * - `empty-stale`: as a follower without its data: the list is empty, but consistent reads tell the truth
 * - `leaderless`: an empty list, and the header that no leader is known
 * - `filtered`: an empty list, and the header that rights took entries away
 * - `blind`: every health query is empty, that of Consul itself too, as for a token that lost its rights
 * - `backwards`: the truth with an index of 1, as after a restore
 * - `error`: status 500
 * - `garbage`: half a JSON text
 * - `hang`: takes the request and says nothing more
 */
export type Mood = 'honest' | 'empty' | 'empty-stale' | 'leaderless' | 'filtered' | 'blind' | 'backwards' | 'error' | 'garbage' | 'hang';

export interface HostileConsul {
  /** Its `http.sock` lies there. */
  folder: string;
  /** From now on; requests that wait at the real Consul are broken off so that the mood meets them at once. */
  mood(mood: Mood): void;
  /** Requests since the last call of this. */
  count(): number;
  stop(): Promise<void>;
}

/** @param target socket of the real Consul */
export async function startHostileConsul(target: string): Promise<HostileConsul> {
  const folder = await mkdtemp(join(tmpdir(), 'xch-'));
  await chmod(folder, 0o755);
  const socketPath = join(folder, 'http.sock');
  let mood: Mood = 'honest';
  let index = 1_000_000;
  let requests = 0;
  const waiting = new Set<http.ServerResponse>();

  const server = http.createServer((request, response) => {
    requests += 1;
    const url = request.url ?? '/';
    const isHealth = url.startsWith('/v1/health/service/');
    const isOfConsul = url.startsWith('/v1/health/service/consul');
    const isConsistent = url.includes('consistent');
    const blocks = url.includes('index=');
    if (mood === 'hang') return;
    if (mood === 'error') return reply(500, {}, 'rpc error: No cluster leader');
    if (isHealth && mood === 'garbage') return reply(200, {}, '[{"Node":');
    const isEmpty =
      isHealth &&
      (mood === 'blind' ||
        ((mood === 'empty' || mood === 'leaderless' || mood === 'filtered') && !isOfConsul) ||
        (mood === 'empty-stale' && !isConsistent && !isOfConsul));
    if (isEmpty) {
      // A blocking query that has seen the present state waits, as a real one does.
      const at = Number(new URL(url, 'http://consul').searchParams.get('index'));
      const headers = {
        ...(mood === 'leaderless' ? { 'x-consul-knownleader': 'false' } : {}),
        ...(mood === 'filtered' ? { 'x-consul-results-filtered-by-acls': 'true' } : {}),
      };
      const wait = blocks && at === index ? 2000 : 0;
      setTimeout(() => reply(200, headers, '[]'), wait).unref();
      return;
    }
    forward();

    function reply(status: number, headers: http.OutgoingHttpHeaders, text: string): void {
      response.writeHead(status, {
        ...{
          'content-type': 'application/json',
          'x-consul-index': String(index),
          'x-consul-knownleader': 'true',
          'x-consul-lastcontact': '0',
        },
        ...headers,
      });
      response.end(text);
    }

    function forward(): void {
      waiting.add(response);
      response.on('close', () => waiting.delete(response));
      const onward = http.request({ socketPath: target, method: request.method, path: url, headers: request.headers }, (answer) => {
        const headers = { ...answer.headers, ...(mood === 'backwards' && isHealth ? { 'x-consul-index': '1' } : {}) };
        response.writeHead(answer.statusCode ?? 500, headers);
        answer.pipe(response);
      });
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    }
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  await chmod(socketPath, 0o666);
  return {
    folder,
    mood(next) {
      mood = next;
      index += 1;
      for (const response of waiting) response.destroy();
    },
    count() {
      const seen = requests;
      requests = 0;
      return seen;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
