import { createConsul } from '#core/consul/client.ts';
import { holdLeaderLock } from '#core/lock.ts';
import { createLogger } from '#core/log.ts';

/**
 * One contender for a leader lock, as a process of its own so that it can be frozen: `contender SOCKET TOKEN KEY TTL`. While it leads it writes, every
 * few milliseconds and only after `check()`, what a command to an agent would be: a line with its fence. It writes a line of another kind when it
 * was refused.
 */
const [socketPath, token, key, ttl] = process.argv.slice(2);
if (socketPath === undefined || token === undefined || key === undefined) throw new Error('usage: contender SOCKET TOKEN KEY TTL');

const tell = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());

await holdLeaderLock({
  consul: createConsul({ socketPath, token }),
  key,
  value: JSON.stringify({ pid: process.pid }),
  name: 'contender',
  log: createLogger({ name: 'contender', level: 'silent' }),
  signal: stopping.signal,
  ttlSeconds: Number(ttl),
  async lead({ fence, check, signal }) {
    tell({ leads: fence });
    while (!signal.aborted) {
      // Without waiting for anything in between: this is where a process that was frozen wakes up.
      for (let i = 0; i < 2000; i++) Math.sqrt(i);
      try {
        check();
        tell({ command: fence, at: process.hrtime.bigint().toString() });
      } catch {
        tell({ refused: fence, aborted: signal.aborted });
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    tell({ ended: fence });
  },
});
process.exit(0);
