import { createServer } from 'node:net';
import { type Command, type Context, flag, type Input, textOption } from '#cli/command.ts';
import { type Explained, explain } from '#cli/demo/explain.ts';
import { type Load, type LoadReport, startLoad } from '#cli/demo/load.ts';
import { createDemoPool, type DemoPool } from '#cli/demo/pool.ts';
import { ALL_CONTAINERS, ms, type Stage, scenes, startContainers } from '#cli/demo/scenes.ts';
import { web } from '#cli/demo/web.ts';
import { wholeNumber } from '#cli/labels.ts';
import { colours, table } from '#cli/output.ts';
import { AppError, messageOf, systemCode } from '#core/errors.ts';

const LB = 'demo-lb';
/** What shells say of a program that Ctrl-C ended: 128 + SIGINT. */
const EXIT_INTERRUPTED = 130;
/** Host ports tried, in this order; the first free one is published. */
const PORTS = { from: 8090, to: 8189 };

export const demoCommands: readonly Command[] = [
  {
    path: ['demo'],
    summary: 'a load balancer under requests, while its containers are killed, added, drained and replaced',
    options: [
      { flags: '--rps <n>', about: 'requests a second', default: '200' },
      { flags: '--seconds <n>', about: 'how long to watch after each event', default: '4' },
      { flags: '--clean', about: 'only remove what a demo that was killed left' },
    ],
    run: demo,
  },
];

async function demo(context: Context, input: Input): Promise<void> {
  const rps = within(textOption(input, 'rps'), '--rps', 1, 2000);
  const seconds = within(textOption(input, 'seconds'), '--seconds', 0, 600);
  const stop = new AbortController();
  const pool = createDemoPool(context.api, LB, stop.signal);
  if (flag(input, 'clean')) {
    await clean(pool);
    context.out.result({ clean: true }, () => 'nothing of the demo is left');
    return;
  }
  await sweep(pool);
  const interrupted = onSignals(stop);
  const say = narrator(context);
  let failed: unknown;
  let report: Report | undefined;
  try {
    report = await Promise.race([play(pool, { rps, seconds, signal: stop.signal, say }), interrupted.promise]);
  } catch (error) {
    failed = error;
  }
  stop.abort();
  say.event('cleaning up');
  try {
    await clean(pool);
  } catch (error) {
    context.out.note(`could not clean up: ${messageOf(error)}; later: xcaas demo --clean`);
    throw failed ?? error;
  } finally {
    interrupted.end();
  }
  if (interrupted.hit()) {
    context.out.note('interrupted; what the demo made is removed');
    process.exit(EXIT_INTERRUPTED);
  }
  if (failed !== undefined) throw failed;
  if (report === undefined) return;
  const done = report;
  context.out.result(done, () => describe(done));
  if (done.unexplained > 0) {
    throw new AppError('internal', `${done.unexplained} requests failed and nothing that was done explains it`, { hint: `xcaas events` });
  }
}

interface Report extends LoadReport {
  requests: number;
  failed: number;
  unexplained: number;
  failures: Explained[];
}

async function play(
  pool: DemoPool,
  { rps, seconds, signal, say }: { rps: number; seconds: number; signal: AbortSignal; say: Narrator },
): Promise<Report> {
  const stage: Omit<Stage, 'load'> = { pool, web, marks: [], signal, command: say.command, result: say.event };
  const failures: Explained[] = [];
  const port = await freePort();
  say.command(`lb create --listen http:80 --publish ${port}:80 ${LB}`);
  const start = performance.now();
  const urls = await pool.create(port);
  signal.throwIfAborted();
  say.event(`${LB} is READY after ${ms(performance.now() - start)}, at ${urls.join(' and ')}`);
  await startContainers(stage);
  const load = startLoad({
    urls,
    rps,
    onFailure(failure) {
      const reason = explain(failure, stage.marks);
      failures.push({ ...failure, ...(reason === undefined ? {} : { explained: reason }) });
      const what = `a ${failure.method} failed after ${ms(failure.ended - failure.sent)} (${failure.reason}) while: ${failure.stage}`;
      say.failure(reason === undefined ? `${what}. NOTHING EXPLAINS IT` : `${what}. ${reason}`, failure.sent);
    },
  });
  say.counting(load);
  try {
    for (const scene of scenes) {
      signal.throwIfAborted();
      load.stage(scene.name);
      say.scene(scene.name === 'nothing happens' ? `${rps} requests a second, one in ten a POST` : scene.name);
      await scene.play({ ...stage, load }, seconds);
    }
  } catch (error) {
    // Whatever ended the scenes, the requests end with them.
    void load.stop();
    throw error;
  } finally {
    say.counting(undefined);
  }
  const counted = await load.stop();
  const { requests, failed } = load.totals();
  return { requests, failed, unexplained: failures.filter(({ explained }) => explained === undefined).length, ...counted, failures };
}

interface Narrator {
  scene(text: string): void;
  command(text: string): void;
  event(text: string): void;
  failure(text: string, at: number): void;
  /** Shows a line of counters from now on, until called without a load. */
  counting(load: Load | undefined): void;
}

/** A line on stdout for each event, with its time; with `--json` on stderr. */
function narrator({ out }: Context): Narrator {
  const print = (text: string, at = Date.now()) => {
    const line = `${colours.dim(new Date(at).toISOString().slice(11, 23))}  ${text}`;
    if (out.json) out.note(line);
    else out.line(undefined, line);
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    scene: (text) => print(colours.bold(text)),
    command: (text) => print(`  ${colours.cyan('$')} ${text}`),
    event: (text) => print(`    ${text}`),
    failure: (text, at) => print(`    ${colours.red('failed')}  ${text}`, at),
    counting(load) {
      clearInterval(timer);
      if (load === undefined) return;
      const show = () => {
        const { requests, answered, failed } = load.totals();
        out.progress(`${requests} requests, ${requests - answered - failed} in flight, ${failed} failed`);
      };
      // A line that does not move is written anew each time: less often then.
      timer = setInterval(show, process.stderr.isTTY ? 200 : 10_000);
    },
  };
}

function describe(report: Report): string {
  const { requests, failed, unexplained, latencyMs, connections } = report;
  const verdict = unexplained > 0 ? colours.red('not as it should be') : colours.green('as it should be');
  return [
    '',
    table(
      ['WHILE', 'SECONDS', 'REQUESTS', 'FAILED', 'SLOWEST'],
      report.stages.map((stage) => [stage.name, stage.seconds.toFixed(1), stage.requests, String(stage.failed), ms(stage.slowestMs)]),
    ),
    '',
    table(
      ['ANSWERED BY', 'VERSION', 'REQUESTS'],
      report.answeredBy.map((row) => [row.container, row.version, row.requests]),
    ),
    '',
    `${requests} requests over ${connections} connections: ${requests - failed} answered, ${failed} failed, ${unexplained} of them unexplained: ${verdict}`,
    `half of them within ${ms(latencyMs.p50)}, 99 of 100 within ${ms(latencyMs.p99)}, the slowest after ${ms(latencyMs.max)}; the application takes 20 ms`,
    ...report.failures.map(({ sent, method, reason, stage, explained }) =>
      [`  ${new Date(sent).toISOString()}  ${method}  ${reason}  while: ${stage}`, explained ?? 'nothing explains it'].join('  '),
    ),
    'the demo is removed, the pool stays',
  ].join('\n');
}

/** Everything the demo made, whichever of it is there. */
async function clean(pool: DemoPool): Promise<void> {
  // The load balancer first: nobody then sends requests to containers that go.
  const ends = await Promise.allSettled([pool.destroy(ALL_CONTAINERS)]);
  // Again, because a container that was being made when the demo was stopped may come a moment later.
  for (let round = 0; round < 2; round++) for (const { name } of await web.list()) await web.remove(name);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** @throws AppError `conflict` when a load balancer of this name is there and not what a demo that was killed left */
async function sweep(pool: DemoPool): Promise<void> {
  const left = await web.list();
  const running = left.find(({ pid }) => isRunning(pid));
  if (running !== undefined) {
    throw new AppError('in_use', `a demo runs on this host already (process ${running.pid})`, { hint: 'one after the other' });
  }
  if (left.length > 0) return clean(pool);
  if (await pool.exists()) {
    throw new AppError('conflict', `there is a load balancer ${LB} already`, { hint: 'if a demo left it: xcaas demo --clean' });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

/** The first signal ends the demo, which then cleans up; a second one ends it at once. */
function onSignals(stop: AbortController): { promise: Promise<never>; hit(): boolean; end(): void } {
  let hit = false;
  let reject: (error: Error) => void;
  const promise = new Promise<never>((_resolve, no) => {
    reject = no;
  });
  promise.catch(() => undefined);
  const onSignal = () => {
    if (hit) process.exit(EXIT_INTERRUPTED);
    hit = true;
    stop.abort();
    reject(new AppError('unavailable', 'interrupted'));
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    promise,
    hit: () => hit,
    end() {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

async function freePort(): Promise<number> {
  for (let port = PORTS.from; port <= PORTS.to; port++) if (await isFree(port)) return port;
  throw new AppError('port_taken', `none of the ports ${PORTS.from} to ${PORTS.to} of this host is free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function within(text: string | undefined, what: string, least: number, most: number): number {
  const value = wholeNumber(text, what);
  if (value === undefined || value < least || value > most) throw new AppError('usage', `${what} takes a number from ${least} to ${most}`);
  return value;
}
