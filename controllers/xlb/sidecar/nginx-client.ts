import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { exchange } from '#core/exchange.ts';
import { SidecarPeers } from '#xlb/schema.ts';

/** nginx's control interface over its unix socket (images/xlb/README.md). All calls throw AppError `unavailable` or `timeout` when nginx is not there. */
export interface NginxClient {
  /**
   * Hands over a table; returns when every worker runs with it.
   *
   * @param text JSON of a `GroupTable`
   * @returns `stale` when nginx holds this version or a newer one of other content
   * @throws AppError `timeout` when a worker did not acknowledge, `disk_full` when its dictionary is full, `invalid` when it refused the table
   */
  putGroup(group: string, text: string): Promise<'live' | 'stale'>;
  deleteGroup(group: string): Promise<void>;
  /** Every worker's own tables. */
  groups(): Promise<NginxWorker[]>;
  /** @param text JSON as in `certs.json` @returns as {@link putGroup} */
  putCerts(text: string): Promise<'live' | 'stale'>;
  generation(): Promise<Generation>;
  metrics(): Promise<string>;
}

const pids = z.array(z.number().int());
const Generation = z.object({
  /** Structure that the worker which answered was started with. */
  generation: z.string(),
  /** Workers of that structure that take requests. */
  workers: z.number().int(),
  pids,
  /** Workers of earlier structures that still end requests or connections. */
  old: pids,
  /** Version of the certificates it holds, 0 = none. */
  certs: z.number().int().default(0),
});
export type Generation = z.infer<typeof Generation>;

/** `leaving`: a worker of an earlier structure, which ends its connections and follows no table any more. */
const NginxWorker = SidecarPeers.shape.workers.element.extend({ leaving: z.boolean().default(false) });
export type NginxWorker = z.infer<typeof NginxWorker>;
const Groups = z.object({ workers: z.array(NginxWorker) });

/** @param timeoutMs for one call; nginx itself waits for 2 s for its workers */
export function createNginxClient(socketPath: string, timeoutMs = 5000): NginxClient {
  // A connection for each call, as nginx wants it here: after a reload an open one would still talk to a replaced worker.
  const call = async (method: string, path: string, body?: string): Promise<Answer> => {
    const head = [`${method} ${path} HTTP/1.0`, 'host: xlb'];
    if (body !== undefined) head.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
    return readAnswer(await exchange({ socketPath, who: 'nginx' }, `${head.join('\r\n')}\r\n\r\n${body ?? ''}`, timeoutMs));
  };
  const put = async (path: string, text: string): Promise<'live' | 'stale'> => {
    const answer = await call('PUT', path, text);
    if (answer.status === 200) return 'live';
    if (answer.status === 409) return 'stale';
    throw refusal(answer, `PUT ${path}`);
  };
  const json = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const answer = await call('GET', path);
    if (answer.status !== 200) throw refusal(answer, `GET ${path}`);
    return schema.parse(JSON.parse(answer.body));
  };
  return {
    // An empty table is sent on purpose only: whoever calls this has corroborated it.
    putGroup: (group, text) => put(`/groups/${group}?empty=1`, text),
    async deleteGroup(group) {
      const answer = await call('DELETE', `/groups/${group}`);
      if (answer.status !== 200 && answer.status !== 404) throw refusal(answer, `DELETE /groups/${group}`);
    },
    groups: async () => (await json('/groups', Groups)).workers,
    putCerts: (text) => put('/certs', text),
    generation: () => json('/generation', Generation),
    async metrics() {
      const answer = await call('GET', '/metrics');
      if (answer.status !== 200) throw refusal(answer, 'GET /metrics');
      return answer.body;
    },
  };
}

interface Answer {
  status: number;
  body: string;
}

/** HTTP/1.0: the body is what follows the head, as long as the head says. */
function readAnswer(text: string): Answer {
  const end = text.indexOf('\r\n\r\n');
  const head = text.slice(0, Math.max(end, 0));
  const status = /^HTTP\/1\.\d (\d{3}) /.exec(head)?.[1];
  const body = text.slice(end + 4);
  const length = /^content-length: (\d+)/im.exec(head)?.[1];
  if (status === undefined || (length !== undefined && Number(length) !== Buffer.byteLength(body)))
    throw new AppError('engine', `nginx's answer is not whole: ${JSON.stringify(text.slice(0, 100))}`);
  return { status: Number(status), body };
}

const CODES = { 413: 'too_large', 422: 'invalid', 504: 'timeout', 507: 'disk_full' } as const;

function refusal(answer: Answer, what: string): AppError {
  const code = CODES[answer.status as keyof typeof CODES] ?? 'engine';
  return new AppError(code, `nginx answered ${what} with ${answer.status}: ${answer.body.trim().slice(0, 300)}`);
}
