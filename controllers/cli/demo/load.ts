import http from 'node:http';
import { z } from 'zod';
import { type Failure, type Method, reasonOf } from './explain.ts';

export interface LoadOptions {
  /** Asked in turn. */
  urls: readonly string[];
  /** Requests a second, sent when due, whatever the ones before them do. */
  rps: number;
  onFailure(failure: Failure): void;
}

/** What was counted of the requests sent while the demo did one thing. */
export interface StageCount {
  name: string;
  seconds: number;
  requests: number;
  failed: number;
  /** From when a request was due to its answer's last byte. */
  slowestMs: number;
}

export interface Answer {
  container: string;
  version: string;
  /** Milliseconds since 1970. */
  sent: number;
}

export interface Load {
  /** Requests sent from now on are counted under this name. */
  stage(name: string): void;
  totals(): { requests: number; answered: number; failed: number };
  /** The first answer from now on that fits. @returns undefined when none came in time */
  answer(fits: (answer: Answer) => boolean, timeoutMs: number): Promise<Answer | undefined>;
  /** Sends no more and waits for what is under way. */
  stop(): Promise<LoadReport>;
}

export interface LoadReport {
  stages: StageCount[];
  answeredBy: { container: string; version: string; requests: number }[];
  latencyMs: { p50: number; p99: number; max: number };
  connections: number;
}

/** One request in so many is a POST: a load balancer may not send those again when a container dies. */
const POST_EVERY = 10;
const TIMEOUT_MS = 10_000;
/** Requests that may be under way at once; a due one beyond them counts as failed. */
const MOST_AT_ONCE = 1000;

const Body = z.object({ container: z.string(), version: z.string() });

interface Result {
  /** Missing on success. */
  reason?: string;
  answer?: z.infer<typeof Body>;
}

/** Sends requests over connections that are kept open, and counts every one of them. */
export function startLoad({ urls, rps, onFailure }: LoadOptions): Load {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const targets = urls.map((url) => new URL(url));
  const stages: (StageCount & { started: number })[] = [];
  const latencies: number[] = [];
  const answeredBy = new Map<string, LoadReport['answeredBy'][number]>();
  const waiting = new Set<(answer: Answer) => void>();
  const sockets = new Set<object>();
  const totals = { requests: 0, answered: 0, failed: 0 };
  let flying = 0;
  let idle = () => {};

  const stage = (name: string) => {
    const now = performance.now();
    closeStage(now);
    stages.push({ name, started: now, seconds: 0, requests: 0, failed: 0, slowestMs: 0 });
  };
  const closeStage = (now: number) => {
    const last = stages.at(-1);
    if (last !== undefined) last.seconds = (now - last.started) / 1000;
  };
  stage('start');

  const one = async (due: number) => {
    const counted = stages.at(-1)!;
    const number = totals.requests++;
    counted.requests++;
    const method: Method = number % POST_EVERY === POST_EVERY - 1 ? 'POST' : 'GET';
    const sent = Date.now();
    const url = targets[number % targets.length]!;
    flying++;
    const { reason, answer } = flying > MOST_AT_ONCE ? { reason: 'overrun' } : await ask(agent, url, method, sockets);
    flying--;
    const took = performance.now() - due;
    counted.slowestMs = Math.max(counted.slowestMs, took);
    if (reason !== undefined) {
      totals.failed++;
      counted.failed++;
      onFailure({ sent, ended: Date.now(), method, stage: counted.name, reason });
    } else {
      totals.answered++;
      latencies.push(took);
      if (answer !== undefined) note(answer, sent);
    }
    if (flying === 0) idle();
  };
  const note = (answer: z.infer<typeof Body>, sent: number) => {
    const key = `${answer.container} ${answer.version}`;
    const row = answeredBy.get(key) ?? { ...answer, requests: 0 };
    row.requests++;
    answeredBy.set(key, row);
    for (const tell of waiting) tell({ ...answer, sent });
  };

  const every = 1000 / rps;
  let next = performance.now();
  const timer = setInterval(
    () => {
      for (const now = performance.now(); next <= now; next += every) void one(next);
    },
    Math.max(1, Math.min(10, every)),
  );

  return {
    stage,
    totals: () => ({ ...totals }),
    answer: (fits, timeoutMs) =>
      new Promise((resolve) => {
        const end = (answer?: Answer) => {
          clearTimeout(timeout);
          waiting.delete(look);
          resolve(answer);
        };
        const look = (answer: Answer) => {
          if (fits(answer)) end(answer);
        };
        const timeout = setTimeout(() => end(), timeoutMs);
        waiting.add(look);
      }),
    async stop() {
      clearInterval(timer);
      closeStage(performance.now());
      if (flying > 0)
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      agent.destroy();
      const sorted = latencies.toSorted((a, b) => a - b);
      return {
        stages: stages.filter((counted) => counted.requests > 0).map(({ started: _started, ...counted }) => counted),
        answeredBy: [...answeredBy.values()].toSorted((a, b) => (`${a.container} ${a.version}` < `${b.container} ${b.version}` ? -1 : 1)),
        latencyMs: { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) ?? 0 },
        connections: sockets.size,
      };
    },
  };
}

/** @param sorted ascending; of an empty list it is 0 */
export function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

function ask(agent: http.Agent, url: URL, method: Method, sockets: Set<object>): Promise<Result> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      end({ reason: 'timeout' });
      request.destroy();
    }, TIMEOUT_MS);
    const end = (result: Result) => {
      clearTimeout(timer);
      resolve(result);
    };
    const headers = method === 'POST' ? { 'content-type': 'text/plain', 'content-length': '2' } : {};
    const request = http.request(url, { agent, method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('error', () => end({ reason: 'truncated' }));
      response.on('end', () => {
        if (response.statusCode !== 200) return end({ reason: `status ${response.statusCode}` });
        const body = Body.safeParse(parse(text));
        end(body.success ? { answer: body.data } : { reason: 'a wrong answer' });
      });
    });
    request.on('socket', (socket) => sockets.add(socket));
    request.on('error', (error) => end({ reason: reasonOf(error) }));
    request.end(method === 'POST' ? 'ok' : undefined);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
