import http from 'node:http';
import https from 'node:https';
import { Recorder, reasonOf } from './report.ts';

export interface HttpLoad {
  kind: 'http';
  /** Where to; several are asked in turn. */
  urls: string[];
  /** Speak to this unix socket instead of the URL's host. */
  socketPath?: string;
  /** So many requests a second, sent when due whatever the others do. Without it `concurrency` requests are always under way. */
  rps?: number;
  concurrency: number;
  method: string;
  headers: Record<string, string>;
  /** Text to send; `bodyBytes` makes one of that size. */
  body?: string;
  bodyBytes?: number;
  /** The answer's body must be the request's. */
  expectEcho: boolean;
  /** Statuses that count as success; without it 200–299. */
  expectStatus?: number[];
  /** From the request's start to the answer's last byte. */
  timeoutMs: number;
  keepAlive: boolean;
  /** Before counting begins, ask until a request succeeds, at most this long: a container new on an overlay gets no answers for its first moments. */
  waitOkMs?: number;
  ca?: string;
  insecure?: boolean;
}

/** Requests that may be under way at once with `rps`; more are counted as failed with reason `overrun`, for they were not sent in time. */
const MOST_AT_ONCE = 2000;
/** A target that refuses at once is asked again after this time, or counting its refusals would be all this machine does. */
const AFTER_FAILURE_MS = 10;

/** Sends requests until stopped. */
export async function startHttpLoad(load: HttpLoad) {
  const secure = load.urls[0]?.startsWith('https:') === true;
  const options = {
    keepAlive: load.keepAlive,
    maxSockets: Number.POSITIVE_INFINITY,
    ...(load.ca ? { ca: load.ca } : {}),
    ...(load.insecure ? { rejectUnauthorized: false } : {}),
  };
  const agent = secure ? new https.Agent(options) : new http.Agent(options);
  const body =
    load.bodyBytes !== undefined
      ? Buffer.alloc(load.bodyBytes, 'xcaas test body ')
      : load.body !== undefined
        ? Buffer.from(load.body)
        : undefined;
  const giveUp = performance.now() + (load.waitOkMs ?? 0);
  while (performance.now() < giveUp) {
    if ((await request({ load, url: new URL(load.urls[0]!), agent, body })).reason === undefined) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const recorder = new Recorder(performance.now(), Date.now());
  let stopped = false;
  let flying = 0;
  let turn = 0;
  let idle = () => {};

  const one = (due: number): Promise<boolean> => {
    recorder.sent();
    flying++;
    const url = new URL(load.urls[turn++ % load.urls.length]!);
    return request({ load, url, agent, body }).then((result) => {
      const now = performance.now();
      flying--;
      if (result.reason === undefined)
        recorder.ok(now, { latencyMs: now - due, status: result.status, ...(result.server ? { server: result.server } : {}) });
      else recorder.failed(now, { ...result, reason: result.reason, message: result.message ?? '', elapsedMs: now - due });
      if (flying === 0) idle();
      return result.reason === undefined;
    });
  };

  let timer: NodeJS.Timeout | undefined;
  if (load.rps !== undefined) {
    const every = 1000 / load.rps;
    let next = performance.now();
    timer = setInterval(
      () => {
        for (const now = performance.now(); next <= now; next += every) {
          if (flying < MOST_AT_ONCE) void one(next);
          else {
            recorder.sent();
            recorder.failed(now, { reason: 'overrun', message: `${MOST_AT_ONCE} requests are under way`, elapsedMs: 0 });
          }
        }
      },
      Math.max(1, Math.min(10, every)),
    );
  } else {
    const loop = async () => {
      while (!stopped) {
        if (!(await one(performance.now()))) await new Promise((resolve) => setTimeout(resolve, AFTER_FAILURE_MS));
      }
    };
    for (let i = 0; i < load.concurrency; i++) void loop();
  }

  return {
    report: () => recorder.report(performance.now(), { failures: false }),
    /** Sends no more, waits for those under way. */
    async stop() {
      stopped = true;
      clearInterval(timer);
      const end = performance.now();
      if (flying > 0)
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      agent.destroy();
      return recorder.report(Math.max(end, performance.now()));
    },
  };
}

interface Result {
  status?: number;
  server?: string;
  /** Missing on success. */
  reason?: string;
  message?: string;
  reused?: boolean;
}

function request({ load, url, agent, body }: { load: HttpLoad; url: URL; agent: http.Agent; body: Buffer | undefined }): Promise<Result> {
  return new Promise((resolve) => {
    const started = performance.now();
    let status: number | undefined;
    let late = false;
    const finish = (result: Result) => {
      clearTimeout(timer);
      resolve({
        ...(status === undefined ? {} : { status }),
        ...(req.reusedSocket && result.reason !== undefined ? { reused: true } : {}),
        ...result,
      });
    };
    const timer = setTimeout(() => {
      late = true;
      req.destroy();
      finish({
        reason: 'timeout',
        message: `no whole answer within ${load.timeoutMs} ms${status === undefined ? '' : `, status ${status} came`}`,
      });
    }, load.timeoutMs);
    const options: https.RequestOptions = {
      agent,
      method: load.method,
      headers: { ...load.headers, ...(body ? { 'content-length': String(body.length) } : {}) },
      ...(load.socketPath ? { socketPath: load.socketPath } : {}),
      ...(load.ca ? { ca: load.ca } : {}),
      ...(load.insecure ? { rejectUnauthorized: false } : {}),
    };
    const req = (url.protocol === 'https:' ? https : http).request(url, options, (response) => {
      status = response.statusCode;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => {
        if (!late)
          finish({ reason: 'truncated', message: `the answer ended after ${Buffer.concat(chunks).length} bytes: ${error.message}` });
      });
      response.on('end', () => {
        if (late) return;
        const text = Buffer.concat(chunks);
        const good = load.expectStatus ? load.expectStatus.includes(status ?? 0) : status !== undefined && status >= 200 && status < 300;
        if (!good) finish({ reason: `status_${status}`, message: text.toString('utf8', 0, 200) });
        else if (load.expectEcho && !text.equals(body ?? Buffer.alloc(0)))
          finish({ reason: 'wrong_body', message: `sent ${body?.length ?? 0} bytes, got other ${text.length}` });
        else finish({ ...serverOf(response, text) });
      });
    });
    req.on('error', (error) => {
      if (!late && status === undefined)
        finish({ reason: reasonOf(error), message: `${error.message} after ${Math.round(performance.now() - started)} ms` });
    });
    req.end(body);
  });
}

function serverOf(response: http.IncomingMessage, text: Buffer): { server?: string } {
  const header = response.headers['x-web-name'];
  if (typeof header === 'string') return { server: header };
  if (text.length > 4096 || !response.headers['content-type']?.includes('json')) return {};
  try {
    const parsed: unknown = JSON.parse(text.toString());
    if (typeof parsed === 'object' && parsed !== null && 'container' in parsed) return { server: String(parsed.container) };
  } catch {
    // Not JSON after all.
  }
  return {};
}
