import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { AppError } from '#core/errors.ts';
import type { HttpLoad } from './load/http-load.ts';
import type { LoadReport } from './load/report.ts';
import type { WsLoad, WsReport } from './load/ws-load.ts';
import { bundledProgram, type From, spawnProgram } from './program.ts';

export interface LoadOptions extends From {
  url: string | readonly string[];
  socketPath?: string;
  rps?: number;
  /** 8 if neither this nor `rps` is given. */
  concurrency?: number;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  bodyBytes?: number;
  expectEcho?: boolean;
  expectStatus?: number[];
  /** 5,000 if not given. */
  timeoutMs?: number;
  /** True if not given. */
  keepAlive?: boolean;
  /** Before counting begins, ask until a request succeeds, at most so long; 0 if not given. */
  waitOkMs?: number;
  ca?: string;
  insecure?: boolean;
}

export interface SocketsOptions extends From {
  /** `ws://…` or `wss://…` */
  url: string;
  count: number;
  /** 200 if not given. */
  perSecond?: number;
  headers?: Record<string, string>;
  /** 500 if not given. */
  heartbeatMs?: number;
  /** 5,000 if not given. */
  timeoutMs?: number;
  insecure?: boolean;
}

export interface Running<Report> {
  /** What it saw so far, without the single failures. @throws AppError `unavailable` when the driver died */
  report(): Promise<Report>;
  /** Sends no more, waits for what is under way, and says all it saw. @throws AppError `unavailable` when the driver died */
  stop(): Promise<Report>;
}

/** Sends HTTP requests until stopped, and accounts for each one. */
export function startLoad(options: LoadOptions): Promise<Running<LoadReport>> {
  return launch<LoadReport>(httpLoad(options), options, {
    startMs: 30_000 + (options.waitOkMs ?? 0) + (options.timeoutMs ?? 5000),
    stopMs: (options.timeoutMs ?? 5000) + 10_000,
  });
}

/** Opens WebSockets, keeps a heartbeat on each, and tells which died when and why. */
export function startSockets(options: SocketsOptions): Promise<Running<WsReport>> {
  const { url, count, perSecond = 200, headers = {}, heartbeatMs = 500, timeoutMs = 5000, insecure } = options;
  return launch<WsReport>(
    { kind: 'ws', url, count, perSecond, headers, heartbeatMs, timeoutMs, ...(insecure ? { insecure } : {}) },
    options,
    { startMs: 30_000, stopMs: 15_000 },
  );
}

/** The driver's orders, defaults filled in. @throws AppError `usage` */
export function httpLoad(options: LoadOptions): HttpLoad {
  const {
    url,
    inHost: _h,
    inContainer: _c,
    concurrency = 8,
    timeoutMs = 5000,
    keepAlive = true,
    expectEcho = false,
    headers = {},
    ...rest
  } = options;
  const urls = typeof url === 'string' ? [url] : [...url];
  if (urls.length === 0) throw new AppError('usage', 'a load needs a URL');
  if (new Set(urls.map((one) => new URL(one).protocol)).size > 1)
    throw new AppError('usage', 'the URLs of a load must all be http: or all be https:');
  if (rest.rps !== undefined && !(rest.rps > 0 && rest.rps <= 5000))
    throw new AppError('usage', `rps must be above 0 and at most 5,000, not ${rest.rps}`);
  const method = rest.method ?? (rest.body === undefined && rest.bodyBytes === undefined ? 'GET' : 'POST');
  return { kind: 'http', urls, concurrency, timeoutMs, keepAlive, expectEcho, headers, ...rest, method };
}

async function launch<Report>(
  load: HttpLoad | WsLoad,
  from: From,
  { startMs, stopMs }: { startMs: number; stopMs: number },
): Promise<Running<Report>> {
  const child = spawnProgram(from, worker());
  let stderr = '';
  let ended: string | undefined;
  const waiting = new Map<string, { resolve: (report: Report) => void; reject: (error: Error) => void }[]>();
  const died = () => new AppError('unavailable', `the load driver is gone (${ended}): ${stderr.slice(-500)}`);
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const over = (how: string) => {
    ended ??= how;
    for (const list of waiting.values()) for (const { reject } of list) reject(died());
    waiting.clear();
  };
  child.on('error', (error) => over(error.message));
  child.on('close', (code, signal) => over(`ended with ${code ?? signal}`));
  child.stdin?.on('error', () => undefined);
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { type, report } = JSON.parse(line) as { type: string; report: Report };
    waiting.get(type)?.shift()?.resolve(report);
  });
  const ask = (order: string, answer: string, timeoutMs: number) =>
    new Promise<Report>((resolve, reject) => {
      if (ended !== undefined) return reject(died());
      const timer = setTimeout(
        () => reject(new AppError('timeout', `the load driver did not answer '${answer}' within ${timeoutMs} ms ${stderr.slice(-500)}`)),
        timeoutMs,
      );
      const done =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          then(value);
        };
      waiting.set(answer, [...(waiting.get(answer) ?? []), { resolve: done(resolve), reject: done(reject) }]);
      child.stdin?.write(`${order}\n`);
    });
  const end = () => {
    child.stdin?.end();
    child.kill('SIGTERM');
  };
  try {
    await ask(JSON.stringify(load), 'started', startMs);
  } catch (error) {
    end();
    throw error;
  }
  return {
    report: () => ask('report', 'report', 10_000),
    async stop() {
      try {
        return await ask('stop', 'final', stopMs);
      } finally {
        end();
      }
    },
  };
}

const worker = () =>
  bundledProgram(fileURLToPath(new URL('./load/worker.ts', import.meta.url)), { name: 'load', external: ['bufferutil', 'utf-8-validate'] });
