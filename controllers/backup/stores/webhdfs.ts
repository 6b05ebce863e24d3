import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { AppError, messageOf } from '#core/errors.ts';
import { exchange, patiently, type StreamResponse, settle } from './http.ts';
import { ABANDONED_MS, type BackupStore } from './store.ts';

export interface WebHdfsOptions {
  /** `http://host:port` of a namenode or of HttpFS. */
  endpoint: string;
  /** Folder, beginning with '/'. */
  root: string;
  user: string;
  ca?: string;
}

const STATUSES = z.object({
  FileStatuses: z.object({
    FileStatus: z.array(
      z.object({ pathSuffix: z.string(), type: z.string(), length: z.number(), modificationTime: z.number().default(0) }),
    ),
  }),
});
const BOOLEAN = z.object({ boolean: z.boolean() });
const TEMPORARY = '.part';

/**
 * HDFS over WebHDFS, by a namenode or HttpFS ("WebHDFS REST API", Apache Hadoop). Reading and writing take two steps: the first server answers with the
 * address of the one that has or takes the data. A file is written under another name and renamed when it is complete, which HDFS does atomically.
 */
export function createWebHdfsStore({ endpoint, root, user, ca }: WebHdfsOptions): BackupStore {
  const base = root.replace(/\/+$/, '');
  const name = `webhdfs://${new URL(endpoint).host}${base}`;
  const options = { ...(ca ? { ca } : {}) };

  const address = (path: string, op: string, query: Record<string, string> = {}) => {
    const url = new URL(`${endpoint}/webhdfs/v1${path.split('/').map(encodeURIComponent).join('/')}`);
    for (const [field, value] of Object.entries({ op, 'user.name': user, ...query })) url.searchParams.set(field, value);
    return url;
  };

  function ask(what: string, method: string, url: URL, expected: number[]): Promise<string> {
    return patiently(async () => settle(await exchange({ method, url, ...options }), what, expected));
  }

  /** @returns where the data is or goes; a server that has it itself answers with it at once */
  async function located(method: string, url: URL, what: string): Promise<URL | StreamResponse> {
    const response = await exchange({ method, url, ...options });
    if (response.status === 200 && method === 'GET') return response;
    const location = response.headers.location;
    const text = await settle(response, what, [307, 200, 201]);
    if (location === undefined) throw new AppError('engine', `${what}: the store did not say where the data goes (${text.slice(0, 100)})`);
    return new URL(location, url);
  }

  /** HDFS does not rename onto a file that is there: it says false, as it does when the first answer to the same request was lost. */
  async function rename(from: string, to: string, what: string): Promise<void> {
    const once = async () =>
      parse(BOOLEAN, json(await ask(what, 'PUT', address(from, 'RENAME', { destination: to }), [200]), what), what).boolean;
    if (await once()) return;
    if (!(await exists(from, what))) {
      if (await exists(to, what)) return;
      throw new AppError('engine', `${what}: what was written is gone`);
    }
    await ask(what, 'DELETE', address(to, 'DELETE'), [200, 404]);
    if (!(await once())) throw new AppError('engine', `${what}: the store does not rename ${from}`);
  }

  async function exists(path: string, what: string): Promise<boolean> {
    try {
      await ask(what, 'GET', address(path, 'GETFILESTATUS'), [200]);
      return true;
    } catch (error) {
      if (error instanceof AppError && error.code === 'not_found') return false;
      throw error;
    }
  }

  async function walk(path: string, found: Found[]): Promise<void> {
    const what = `the list of ${name}`;
    let text: string;
    try {
      text = await ask(what, 'GET', address(path, 'LISTSTATUS'), [200]);
    } catch (error) {
      if (error instanceof AppError && error.code === 'not_found') return;
      throw error;
    }
    for (const { pathSuffix, type, length, modificationTime } of parse(STATUSES, json(text, what), what).FileStatuses.FileStatus) {
      const inner = pathSuffix === '' ? path : `${path}/${pathSuffix}`;
      if (type === 'DIRECTORY') await walk(inner, found);
      else found.push({ path: inner, bytes: length, changed: modificationTime });
    }
  }

  return {
    name,
    async put(key, content, { signal } = {}) {
      const what = `an upload to ${name}`;
      const path = `${base}/${key}`;
      const temporary = `${path}.${randomBytes(4).toString('hex')}${TEMPORARY}`;
      const cancel = { ...(signal ? { signal } : {}) };
      try {
        const target = await patiently(() => located('PUT', address(temporary, 'CREATE', { overwrite: 'true' }), what));
        if (!(target instanceof URL)) throw new AppError('engine', `${what}: the store did not say where the data goes`);
        let bytes = 0;
        content.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        content.pause();
        const headers = { 'content-type': 'application/octet-stream' };
        await settle(await exchange({ method: 'PUT', url: target, headers, body: content, ...options, ...cancel }), what, [200, 201]);
        await rename(temporary, path, what);
        return { bytes };
      } catch (error) {
        content.destroy();
        await ask(what, 'DELETE', address(temporary, 'DELETE'), [200, 404]).catch(() => undefined);
        throw error;
      }
    },
    async get(key, { signal } = {}) {
      const what = `${key} at ${name}`;
      const cancel = { ...(signal ? { signal } : {}) };
      const response = await patiently(async () => {
        const target = await located('GET', address(`${base}/${key}`, 'OPEN'), what);
        if (!(target instanceof URL)) return target;
        const answer = await exchange({ method: 'GET', url: target, ...options, ...cancel });
        if (answer.status !== 200) await settle(answer, what, []);
        return answer;
      });
      return Readable.from(
        (async function* () {
          try {
            yield* response.body;
          } catch (cause) {
            throw new AppError('unavailable', `${what}: the connection broke: ${messageOf(cause)}`, { cause });
          }
        })(),
        { objectMode: false },
      );
    },
    async list(prefix) {
      const found: Found[] = [];
      await walk(`${base}/${prefix}`.replace(/\/$/, ''), found);
      return found.filter(({ path }) => !path.endsWith(TEMPORARY)).map(({ path, bytes }) => ({ key: path.slice(base.length + 1), bytes }));
    },
    async delete(key) {
      await ask(`the removal of ${key} at ${name}`, 'DELETE', address(`${base}/${key}`, 'DELETE'), [200, 404]);
    },
    async tidy(now) {
      const found: Found[] = [];
      await walk(base, found);
      for (const { path, changed } of found) {
        if (!path.endsWith(TEMPORARY) || now.getTime() - changed <= ABANDONED_MS) continue;
        await ask(`the removal of ${path} at ${name}`, 'DELETE', address(path, 'DELETE'), [200, 404]);
      }
    },
  };
}

interface Found {
  path: string;
  bytes: number;
  /** Milliseconds since 1970. */
  changed: number;
}

function json(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError('engine', `${what}: the store's answer is not JSON`);
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new AppError('engine', `${what}: the store's answer is not what WebHDFS answers`);
  return parsed.data;
}
