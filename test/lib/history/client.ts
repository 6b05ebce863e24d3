/**
 * The client as a program of its own, so that it can run where the database is reachable. First line of its input: what to do ({@link ClientOrders}), as JSON.
 * Then `report`, `pause`, `resume`, `round N`, `stop`, each answered by a line of JSON. The end of input ends it at once.
 */
import { createInterface } from 'node:readline';
import { createRandom } from '../random.ts';
import { connect, type Endpoint } from './connect.ts';
import { now, openJournal } from './journal.ts';
import { createOutcomes, type Outcomes } from './outcomes.ts';
import { runWorker } from './worker.ts';

export interface ClientOrders {
  client: string;
  journal: string;
  endpoint: Endpoint;
  steady: number;
  fresh: number;
  /** Deadline of a statement of a worker without a pool. */
  freshQueryMs: number;
  thinkMs: number;
  retryMs: number;
  epochSql?: string;
  seed: number;
  round: number;
}

export interface ClientAnswer {
  type: 'started' | 'report' | 'paused' | 'resumed' | 'round' | 'stopped';
  outcomes: Outcomes;
}

const outcomes = createOutcomes();
const say = (type: ClientAnswer['type']) =>
  new Promise<void>((resolve) =>
    process.stdout.write(`${JSON.stringify({ type, outcomes: outcomes.now() } satisfies ClientAnswer)}\n`, () => resolve()),
  );

const stop = new AbortController();
let round = 0;
/** Workers that are in the middle of a transaction or on their way to one. */
let busy = 0;
let paused = false;
const wake: (() => void)[] = [];
const idle: (() => void)[] = [];
let running: Promise<unknown> = Promise.resolve();

const leave = () => {
  busy--;
  if (busy === 0) for (const done of idle.splice(0)) done();
};

async function mayGo(): Promise<void> {
  while (paused && !stop.signal.aborted) {
    leave();
    await new Promise<void>((resolve) => wake.push(resolve));
    busy++;
  }
}

function begin(orders: ClientOrders): void {
  const { client, seed, steady, fresh, endpoint, freshQueryMs } = orders;
  const impatient = { ...endpoint, queryMs: freshQueryMs };
  round = orders.round;
  const journal = openJournal(orders.journal);
  journal.write({ k: 'start', client, at: now(), time: new Date().toISOString() });
  const random = createRandom(seed);
  running = Promise.all(
    Array.from({ length: steady + fresh }, async (_, at) => {
      const own = random.fork(`worker ${at + 1}`);
      let turn = at;
      busy++;
      await runWorker(
        {
          ...{ worker: at + 1, kind: at < steady ? 'steady' : 'fresh', client },
          ...{ thinkMs: orders.thinkMs, retryMs: orders.retryMs, epochSql: orders.epochSql },
        },
        {
          connect: () => connect(at < steady ? endpoint : impatient, turn++),
          journal,
          random: own,
          now,
          round: () => round,
          mayGo,
          stopped: stop.signal,
          seen: outcomes.seen,
        },
      );
      leave();
    }),
  );
}

const resume = () => {
  paused = false;
  for (const go of wake.splice(0)) go();
};

async function obey(line: string): Promise<void> {
  const [word, value] = line.split(' ');
  switch (word) {
    case 'report':
      return say('report');
    case 'pause':
      paused = true;
      if (busy > 0) await new Promise<void>((resolve) => idle.push(resolve));
      return say('paused');
    case 'resume':
      resume();
      return say('resumed');
    case 'round':
      round = Number(value);
      return say('round');
    case 'stop':
      stop.abort();
      resume();
      await running;
      await say('stopped');
      return process.exit(0);
    default:
      throw new Error(`not understood: ${line}`);
  }
}

let begun = false;
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (begun) return void obey(line);
  begun = true;
  begin(JSON.parse(line) as ClientOrders);
  void say('started');
});
lines.on('close', () => {
  if (!stop.signal.aborted) process.exit(0);
});
