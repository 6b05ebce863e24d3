import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { sleep } from '#core/sleep.ts';
import type { TestConsul } from '#test/consul.ts';
import {
  type Backend,
  bridgeAddress,
  eventually,
  type Member,
  memberToken,
  register,
  startBackend,
  startLabConsul,
  startMember,
  webSpec,
} from './xlb-sidecar-lab.ts';

const lb = 'big';
const COUNT = 1000;
let server: TestConsul;
let consul: ConsulClient;
let member: Member;
let backend: Backend;

beforeAll(async () => {
  ({ server, client: consul } = await startLabConsul());
  backend = await startBackend('new');
  const address = await bridgeAddress();
  // All instances are the same few servers under other addresses; nobody asks them here.
  for (let i = 0; i < COUNT; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, (_, j) =>
        register(consul, 'web', { name: `n${i + j}`, address, port: 20_000 + i + j }, { check: check(`n${i + j}`) }),
      ),
    );
  }
  // Active checks of servers that are not there would be most of what is measured.
  const active = { type: 'tcp', intervalMs: 300_000, fall: 100 };
  const spec = webSpec(lb, {
    groups: [
      { name: 'default', services: ['web'], active },
      { name: 'one', services: ['one'] },
    ],
    rules: [
      { listen: '*', group: 'default' },
      { listen: '*', path: '/one', group: 'one' },
    ],
  });
  await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(spec));
  member = await startMember({ lb, consulFolder: dirname(server.socketPath), token: await memberToken(consul, lb, `${lb}-1`) });
  await eventually('all are known', async () => (await peers()) === COUNT);
});

afterAll(async () => {
  await member?.stop();
  await backend?.close();
  consul?.close();
  await server?.stop();
});

const check = (name: string) => ({ id: `web-${name}-check`, name: 'ttl', ttlSeconds: 3600, status: 'passing' as const });
const peers = async () => Math.min(...(await member.peers()).workers.map((worker) => worker.groups.default?.peers.length ?? 0));

/** CPU seconds and resident bytes of the sidecar, from the kernel. */
async function usage(): Promise<{ cpu: number; rss: number }> {
  const pid = await member.sidecarPid();
  const { stdout } = await member.exec('cat', `/proc/${pid}/stat`);
  const fields = stdout.slice(stdout.lastIndexOf(')') + 2).split(' ');
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, rss: Number(fields[21]) * 4096 };
}

it('rests cheaply with 1,000 endpoints', async () => {
  await sleep(10_000);
  const before = await usage();
  await sleep(30_000);
  const after = await usage();
  const share = (after.cpu - before.cpu) / 30;
  console.log(`at rest with ${COUNT} endpoints: ${(100 * share).toFixed(2)} % of a core, ${(after.rss / 2 ** 20).toFixed(1)} MiB resident`);
  expect(after.rss).toBeLessThan(90 * 2 ** 20);
  expect(share).toBeLessThan(0.03);
}, 120_000);

it('follows ten changes a second of 1,000 endpoints', async () => {
  const before = await usage();
  const start = performance.now();
  for (let i = 0; i < 100; i++) {
    const at = performance.now();
    await register(consul, 'web', { name: 'flip', address: backend.address, port: 30_000 + (i % 2) }, { check: check('flip') });
    await sleep(Math.max(0, 100 - (performance.now() - at)));
  }
  const seconds = (performance.now() - start) / 1000;
  const after = await usage();
  console.log(
    `ten changes a second of ${COUNT} endpoints: ${((100 * (after.cpu - before.cpu)) / seconds).toFixed(0)} % of a core, ${(after.rss / 2 ** 20).toFixed(1)} MiB resident`,
  );
  await consul.agent.deregister('web-flip');
  await eventually('the last change is live', async () => (await peers()) === COUNT);
}, 120_000);

it('has a registered instance serve soon', async () => {
  const times: number[] = [];
  for (let i = 0; i < 30; i++) {
    await eventually('it is not served', async () => (await member.get('/one')).status === 503);
    await register(consul, 'one', backend);
    const start = performance.now();
    while ((await member.get('/one')).status !== 200) await sleep(2);
    times.push(performance.now() - start);
    await register(consul, 'one', backend, { meta: { state: 'draining' } });
  }
  times.sort((a, b) => a - b);
  console.log(`registered → first request there: median ${times[15]?.toFixed(0)} ms, worst of 30 ${times.at(-1)?.toFixed(0)} ms`);
  expect(times[15]).toBeLessThan(5000);
}, 180_000);

it('has an instance among 1,000 live soon', async () => {
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const { version } = (await member.peers()).workers[0]?.groups.default ?? { version: 0 };
    await register(consul, 'web', { name: 'flip', address: backend.address, port: 30_000 + (i % 2) }, { check: check('flip') });
    const start = performance.now();
    while (!(await member.peers()).workers.every((worker) => (worker.groups.default?.version ?? 0) > version)) await sleep(5);
    times.push(performance.now() - start);
    await sleep(300);
  }
  times.sort((a, b) => a - b);
  console.log(
    `a change among ${COUNT} endpoints → live on all workers: median ${times[10]?.toFixed(0)} ms, worst of 20 ${times.at(-1)?.toFixed(0)} ms`,
  );
  expect(times[10]).toBeLessThan(5000);
}, 120_000);
