import { docker, eventually, type Member, register } from '../../appliance/xlb-sidecar-lab.ts';
import { startBackends } from '../backends.ts';
import { startBaseline } from '../baseline.ts';
import { startChurn } from '../churn.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { type Lab, QUIET, startLab, UNASKED } from '../lab.ts';
import { CHURN_PER_SECOND, ratioRows } from '../ratios.ts';
import { compare } from '../rounds.ts';
import { leaveUntracked } from '../untracked.ts';
import { startWrk } from '../wrk.ts';
import { peersOf } from './http.ts';

const PORT = 9000;
const HAPROXY_CFG = '/var/lib/xlb/haproxy/haproxy.cfg';
const CONNECTIONS = 32;

/** HAProxy driven by the sidecar while its endpoints change, against HAProxy with the same endpoints in its file. */
export async function tcp(plan: Plan, say: Say): Promise<Row[]> {
  const lab = await startLab();
  try {
    return await measure(lab, plan, say);
  } finally {
    await lab.stop();
  }
}

async function measure(lab: Lab, plan: Plan, say: Say): Promise<Row[]> {
  lab.after(await leaveUntracked());
  const wrk = await startWrk();
  lab.after(wrk.stop);
  const backends = await startBackends(4, 4);
  lab.after(backends.stop);
  const { endpoints } = backends;
  await Promise.all(endpoints.map((endpoint) => register(lab.consul, 'raw', endpoint)));
  const spec = {
    listeners: [{ proto: 'tcp', port: PORT }],
    groups: [{ name: 'raw', services: ['raw'] }],
    rules: [{ listen: `tcp:${PORT}`, group: 'raw' }],
  };
  const member = await lab.member('bench', spec, [UNASKED]);
  const url = (address: string) => `http://${address}:${PORT}/`;
  const serves = async () => (await member.get('/', { port: PORT })).status === 200 && (await peersOf(member, 'raw')) === endpoints.length;
  await eventually('the load balancer serves', serves);
  const baseline = await startBaseline('haproxy', `${await docker('exec', member.container, 'cat', HAPROXY_CFG)}\n`, QUIET);
  lab.after(baseline.stop);
  await eventually(
    'the baseline serves',
    async () => (await wrk.run({ url: url(baseline.address), seconds: 1, connections: 1 })).failed === 0,
  );

  const sidecar = await member.sidecarPid();
  const churn = startChurn(lab.consul, 'raw', endpoints.slice(-4), CHURN_PER_SECOND);
  const compared = await compare({
    ours: { container: member.container, url: url(member.address), sidecar },
    baseline: { container: baseline.container, url: url(baseline.address) },
    // A connection for each request: only a new connection is balanced.
    load: { connections: CONNECTIONS, headers: { connection: 'close' } },
    ...{ wrk, plan, say },
  });
  const changes = await churn.stop();
  say(`${changes} changes in Consul; HAProxy's reloads: ${await reloads(member)}`);
  return [
    ...ratioRows('tcp', 'HAProxy', compared),
    {
      figure: `tcp: failed connections under ${CHURN_PER_SECOND} changes/s`,
      bar: '0',
      measured: `${compared.failed.ours} of ${compared.requests}`,
      met: compared.failed.ours === 0,
      values: { failed: compared.failed.ours, requests: compared.requests, baselineFailed: compared.failed.baseline },
    },
  ];
}

/** How often HAProxy's master was told to reload since it began. */
async function reloads(member: Member): Promise<string> {
  const ask =
    "const s=require('net').connect('/run/xlb/haproxy-master.sock',()=>s.write('show proc\\n'));s.pipe(process.stdout);setTimeout(()=>process.exit(),500)";
  const text = await docker('exec', member.container, 'node', '-e', ask);
  return /^\d+\s+master\s+(\d+)/m.exec(text)?.[1] ?? 'unknown';
}
