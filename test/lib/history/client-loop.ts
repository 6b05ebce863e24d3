/**
 * What every client program does: first line of its input, what to do ({@link LoopOrders} and its own), as JSON. Then `report`, `pause`, `resume`, `round N`, `stop`, each
 * answered by a line of JSON. The end of input ends it at once.
 */
import { createInterface } from 'node:readline';
import { createRandom } from '../random.ts';
import { now, openJournal } from './journal.ts';
import { createOutcomes, type Outcomes } from './outcomes.ts';
import type { WritingDeps, WritingOptions } from './writing.ts';

export interface LoopOrders {
  client: string;
  journal: string;
  /** Workers that keep their connection, and such that open one for each transaction. */
  steady: number;
  fresh: number;
  thinkMs: number;
  retryMs: number;
  seed: number;
  round: number;
}

export interface ClientAnswer {
  type: 'started' | 'report' | 'paused' | 'resumed' | 'round' | 'stopped';
  outcomes: Outcomes;
}

export type LoopDeps = Omit<WritingDeps<never>, 'connect' | 'next'>;

/** @param work one worker's; it ends when it is told to stop */
export function serveClient<O extends LoopOrders>(work: (orders: O, options: WritingOptions, deps: LoopDeps) => Promise<void>): void {
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

  function begin(orders: O): void {
    const { client, seed, steady, fresh, thinkMs, retryMs } = orders;
    round = orders.round;
    const journal = openJournal(orders.journal);
    journal.write({ k: 'start', client, at: now(), time: new Date().toISOString() });
    const random = createRandom(seed);
    running = Promise.all(
      Array.from({ length: steady + fresh }, async (_, at) => {
        const worker = at + 1;
        busy++;
        await work(
          orders,
          { ...{ worker, client, thinkMs, retryMs }, kind: at < steady ? 'steady' : 'fresh' },
          {
            ...{ journal, now, mayGo, seen: outcomes.seen },
            random: random.fork(`worker ${worker}`),
            round: () => round,
            stopped: stop.signal,
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
    begin(JSON.parse(line) as O);
    void say('started');
  });
  lines.on('close', () => {
    if (!stop.signal.aborted) process.exit(0);
  });
}
