import { chmod, cp, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { createDocker } from '#core/docker.ts';
import { httpRequest } from '#core/http.ts';
import { sleep } from '#core/sleep.ts';
import { startLoad, startSockets } from '#test/http-driver.ts';
import { quantile } from '#test/load/report.ts';
import { bridgeAddress, docker, eventually, type Member, memberImage, register } from '../../appliance/xlb-sidecar-lab.ts';
import { type Endpoint, startBackends } from '../backends.ts';
import { startChurn } from '../churn.ts';
import { containerCpu, processUse } from '../cpu.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { type Lab, QUIET, startLab } from '../lab.ts';
import { peersOf } from './http.ts';

/** Endpoints in one target group. */
const COUNT = 1000;
const SOCKETS = 200;
const SOCKET_CHANGES_PER_SECOND = 20;

export type Part = 'propagation' | 'rest' | 'sockets' | 'starts';

/** What a group of 1,000 endpoints shows: one member is started for all of it. */
export async function many(plan: Plan, say: Say, parts: ReadonlySet<Part>): Promise<Row[]> {
  const lab = await startLab();
  try {
    const member = await startBig(lab, say);
    const rows: Row[] = [];
    if (parts.has('rest')) rows.push(...(await rest(member, plan, say)));
    if (parts.has('propagation')) rows.push(await propagation(lab, member, plan, say));
    if (parts.has('sockets')) rows.push(await sockets(lab, member, plan, say));
    if (parts.has('starts')) rows.push(...(await starts(lab, member, plan, say)));
    return rows;
  } finally {
    await lab.stop();
  }
}

const hour = (id: string, status: 'passing' | 'critical' = 'passing') => ({
  check: { id: `${id}-check`, name: 'ttl', ttlSeconds: 3600, status },
});

async function startBig(lab: Lab, say: Say): Promise<Member> {
  const backends = await startBackends(2, COUNT / 2);
  lab.after(backends.stop);
  const waiting = [...backends.endpoints];
  const registrar = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
      await register(lab.consul, 'web', next, hour(`web-${next.name}`));
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: 16 }, registrar));
  say(`${COUNT} endpoints registered in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const member = await lab.member('bench', {
    groups: [
      { name: 'default', services: ['web'] },
      { name: 'ws', services: ['ws'] },
    ],
    rules: [
      { listen: '*', group: 'default' },
      { listen: '*', path: '/ws', group: 'ws' },
    ],
  });
  await eventually('all endpoints are live', async () => (await peersOf(member)) === COUNT && (await member.get()).status === 200, 60_000);
  return member;
}

/**
 * From a check that is told to pass to the first request that arrives there. The endpoint weighs as much as all others together, so that it is its
 * turn within a request or two, and 500 requests a second go through: what is timed is the way of the news.
 */
async function propagation(lab: Lab, member: Member, plan: Plan, say: Say): Promise<Row> {
  let arrived: ((at: number) => void) | undefined;
  let last = 0;
  const server = createServer((_request, response) => {
    last = performance.now();
    arrived?.(last);
    response.end('new\n');
  });
  const address = await bridgeAddress();
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  lab.after(async () => {
    server.closeAllConnections();
    server.close();
  });
  const endpoint = { name: 'new', address, port: (server.address() as AddressInfo).port };
  const weights = { passing: COUNT, warning: 1 };
  await register(lab.consul, 'web', endpoint, { weights, ...hour('web-new', 'critical') });
  await eventually('the endpoint is known', async () => (await peersOf(member)) === COUNT + 1);
  const load = await startLoad({ url: `http://${member.address}/`, rps: 500 });
  const used = await processUse(member.container, await member.sidecarPid());
  const times: number[] = [];
  for (let i = 0; i < plan.changes; i++) {
    // At no fixed beat, so that no timer on the way is met at the same moment each time.
    await sleep(150 + 200 * ((i * 0.618) % 1));
    const first = new Promise<number>((resolve, reject) => {
      arrived = resolve;
      setTimeout(() => reject(new Error('no request reached the new endpoint within 30 s')), 30_000).unref();
    });
    const told = performance.now();
    await lab.consul.agent.pass('web-new-check');
    times.push((await first) - told);
    arrived = undefined;
    await lab.consul.agent.fail('web-new-check');
    const quiet = async () => performance.now() - last > 60;
    await eventually('the endpoint is left alone', quiet);
  }
  const report = await load.stop();
  const after = await processUse(member.container, await member.sidecarPid());
  const cost = ((after.cpu - used.cpu) * 1000) / (2 * plan.changes);
  say(`each change cost the sidecar ${cost.toFixed(1)} ms of CPU; ${report.failed} of ${report.sent} requests failed meanwhile`);
  await lab.consul.agent.deregister('web-new');
  const sorted = times.toSorted((a, b) => a - b);
  const [p50, p99, max] = [quantile(sorted, 0.5), quantile(sorted, 0.99), quantile(sorted, 1)];
  return {
    figure: `check passes in Consul → first request there, ${COUNT} endpoints`,
    bar: 'p99 ≤ 100 ms',
    measured: `p99 ${p99.toFixed(0)} ms, p50 ${p50.toFixed(0)} ms, worst of ${times.length} ${max.toFixed(0)} ms`,
    met: p99 <= 100,
    values: { p50, p99, max, changes: times.length, sidecarMsPerChange: cost, failed: report.failed, sent: report.sent },
  };
}

async function rest(member: Member, plan: Plan, say: Say): Promise<Row[]> {
  // What starting has left to do, and to collect.
  await sleep(plan.quick ? 3000 : 10_000);
  const pid = await member.sidecarPid();
  const [before, wholeBefore, began] = [await processUse(member.container, pid), await containerCpu(member.container), performance.now()];
  await sleep(plan.restSeconds * 1000);
  const [after, whole, seconds] = [
    await processUse(member.container, pid),
    (await containerCpu(member.container)) - wholeBefore,
    (performance.now() - began) / 1000,
  ];
  const share = (after.cpu - before.cpu) / seconds;
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  say(`the whole member at rest, active checks and health checks included: ${((100 * whole) / seconds).toFixed(1)} % of a core`);
  return [
    {
      figure: `sidecar at rest with ${COUNT} endpoints: CPU over ${plan.restSeconds} s`,
      bar: '< 1 % of a core',
      measured: `${(100 * share).toFixed(2)} %`,
      met: share < 0.01,
      values: { share, wholeMemberShare: whole / seconds },
    },
    {
      figure: `sidecar at rest with ${COUNT} endpoints: resident memory`,
      bar: '< 90 MB',
      measured: `RSS ${megabytes(after.rss)} MB (PSS ${megabytes(after.pss)} MB)`,
      met: after.rss < 90e6,
      values: { rss: after.rss, pss: after.pss },
    },
  ];
}

async function sockets(lab: Lab, member: Member, plan: Plan, say: Say): Promise<Row> {
  const address = await bridgeAddress();
  const endpoints: Endpoint[] = [];
  for (let i = 0; i < 8; i++) {
    const port = await echo(lab, address);
    endpoints.push({ name: `ws${i}`, address, port });
  }
  await Promise.all(endpoints.map((endpoint) => register(lab.consul, 'ws', endpoint)));
  await eventually('the WebSocket servers are live', async () => (await peersOf(member, 'ws')) === endpoints.length);
  const open = await startSockets({ url: `ws://${member.address}/ws`, count: SOCKETS });
  await eventually('all sockets are open', async () => (await open.report()).opened === SOCKETS);
  // Every endpoint but one leaves and comes back in turn, those that hold the sockets among them.
  const churn = startChurn(lab.consul, 'ws', endpoints.slice(1), SOCKET_CHANGES_PER_SECOND);
  await eventually('all changes are made', async () => churn.changes() >= plan.socketChanges, 240_000);
  const changes = await churn.stop();
  const report = await open.stop();
  say(`${report.echoes} messages came back through the sockets, the slowest after ${report.latencyMaxMs} ms`);
  const met = report.opened === SOCKETS && report.alive === SOCKETS && report.wrong === 0;
  return {
    figure: `WebSockets alive after ${plan.socketChanges} changes of their endpoints`,
    bar: `${SOCKETS} of ${SOCKETS}`,
    measured: `${report.alive} of ${report.opened} (${changes} changes)`,
    met,
    values: { alive: report.alive, opened: report.opened, changes, echoes: report.echoes },
  };
}

/** @returns the port of a server that sends back what it is sent */
async function echo(lab: Lab, address: string): Promise<number> {
  const server = new WebSocketServer({ host: address, port: 0, perMessageDeflate: false });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('error', () => socket.terminate());
  });
  lab.after(async () => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** From the start of a container, as the engine dates it, to the first answer, with nobody there but what was last known. */
async function starts(lab: Lab, member: Member, plan: Plan, say: Say): Promise<Row[]> {
  await sleep(2000);
  await lab.server.kill();
  const folder = await mkdtemp(join(tmpdir(), 'xb-'));
  lab.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(member.folder, 'data'), folder, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  await docker(
    'run',
    '--rm',
    '--user',
    '0',
    '--entrypoint',
    'chown',
    '--volume',
    `${folder}:/data`,
    await memberImage(),
    '-R',
    'xlb:',
    '/data',
  );
  await chmod(folder, 0o755);
  // Without its program the supervisor starts no sidecar.
  const bare = ['--volume', `${folder}:/var/lib/xlb`, '--volume', '/dev/null:/usr/share/xlb/xlb.mjs:ro', '--no-healthcheck'];
  const alone = await docker('create', '--label', 'xcaas.test=bench', '--memory', '512m', ...QUIET, ...bare, await memberImage());
  lab.after(() => docker('rm', '--force', '--volumes', alone));
  const rows: Row[] = [];
  for (const [container, what] of [
    [alone, 'nginx alone'],
    [member.container, 'with the sidecar'],
  ] as const) {
    const times: number[] = [];
    for (let i = 0; i < plan.starts; i++) times.push(await timeStart(container));
    say(`${what}: ${times.map((time) => `${time.toFixed(0)} ms`).join(', ')}`);
    const worst = Math.max(...times);
    rows.push({
      figure: `container's start → first answer, Consul dead, ${what}`,
      bar: '≤ 1000 ms',
      measured: `worst of ${times.length} ${worst.toFixed(0)} ms`,
      met: worst <= 1000,
      values: { worst, starts: times.length },
    });
  }
  return rows;
}

async function timeStart(id: string): Promise<number> {
  const container = createDocker().getContainer(id);
  await container.kill().catch(() => undefined);
  await container.start();
  const { State, NetworkSettings } = await container.inspect();
  const host = Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? '';
  const began = Date.parse(State.StartedAt);
  const get = () => httpRequest({ host, port: 80, method: 'GET', path: '/', headers: {}, timeoutMs: 1000 });
  await eventually('it serves', async () => (await get()).status === 200);
  return Date.now() - began;
}
