/**
 * The load driver as a program of its own, so that it can run where the target is reachable (a host's network namespace, a container) and its
 * timing does not depend on the test's. First line of its input: what to do, as JSON. Then `report` and `stop`, each answered by a line of
 * JSON; `stop` or the end of input ends it.
 */
import { createInterface } from 'node:readline';
import { type HttpLoad, startHttpLoad } from './http-load.ts';
import { startWsLoad, type WsLoad } from './ws-load.ts';

const say = (value: unknown) => new Promise<void>((resolve) => process.stdout.write(`${JSON.stringify(value)}\n`, () => resolve()));

let stopping = false;
let begun = false;
let driver: Awaited<ReturnType<typeof startHttpLoad>> | ReturnType<typeof startWsLoad> | undefined;
async function begin(load: HttpLoad | WsLoad): Promise<void> {
  driver = load.kind === 'http' ? await startHttpLoad(load) : startWsLoad(load);
  await say({ type: 'started' });
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (!begun) {
    begun = true;
    void begin(JSON.parse(line));
  } else if (driver === undefined) {
    throw new Error(`'${line}' before the load has started`);
  } else if (line === 'report') {
    void say({ type: 'report', report: driver.report() });
  } else if (line === 'stop') {
    stopping = true;
    void driver.stop().then((report) => say({ type: 'final', report }).then(() => process.exit(0)));
  }
});
lines.on('close', () => {
  if (!stopping) process.exit(0);
});
