import process from 'node:process';
import { Redis, type RedisOptions } from 'ioredis';

/**
 * A client as a user's program would be, run in a container: writes one key after the other until SIGTERM, then reads back all that was acknowledged. One line of JSON for
 * each write that took long or failed, and one at the end.
 */
const env = process.env;
const { CACHE: cache = '', PASSWORD: password = '', KIND: kind = 'plain' } = env;
const id = env.ID ?? kind;
/** Everything else is as ioredis has it. A host that is gone, or a member that is frozen, closes no connection. */
const common: RedisOptions = { username: env.CACHE_USER ?? cache, password, socketTimeout: 3000 };
const bySentinel: RedisOptions = {
  ...common,
  ...{ sentinels: [{ host: cache, port: 26_379 }], name: cache, sentinelUsername: env.CACHE_USER ?? cache, sentinelPassword: password },
  ...{ failoverDetector: true, sentinelCommandTimeout: 1000, commandTimeout: 2000 },
};
const client = kind === 'sentinel' ? new Redis(bySentinel) : new Redis({ host: cache, port: 6379, ...common });
client.on('error', () => undefined);

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const acked: { n: number; at: number }[] = [];
let [n, failed, stopping] = [0, 0, false];
process.on('SIGTERM', () => {
  stopping = true;
});

while (!stopping) {
  n += 1;
  const began = Date.now();
  try {
    await client.set(`${id}:${n}`, String(n));
    acked.push({ n, at: Date.now() });
    if (n === 1 || Date.now() - began > 200) say({ slow: n, at: Date.now(), ms: Date.now() - began });
  } catch (error) {
    failed += 1;
    say({ failed: n, at: Date.now(), ms: Date.now() - began, error: String(error) });
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
}

const missing: { n: number; at: number }[] = [];
for (let from = 0; from < acked.length; from += 500) {
  const some = acked.slice(from, from + 500);
  const values = await client.mget(some.map((one) => `${id}:${one.n}`));
  missing.push(...some.filter((one, index) => values[index] !== String(one.n)));
}
say({ end: true, tried: n, acked: acked.length, failed, missing });
process.exit(0);
