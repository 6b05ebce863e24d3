import { sleep } from '#core/sleep.ts';
import { startLoad } from '#test/http-driver.ts';
import { docker, eventually, type Member, register } from '../../appliance/xlb-sidecar-lab.ts';
import { startBackends } from '../backends.ts';
import { startBaseline, staticNginx } from '../baseline.ts';
import { startChurn } from '../churn.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { type Lab, QUIET, startLab, UNASKED } from '../lab.ts';
import { CHURN_PER_SECOND, ratioRows } from '../ratios.ts';
import { compare } from '../rounds.ts';
import { startWrk } from '../wrk.ts';

const CONNECTIONS = 64;

/** nginx with the Lua balancer while its endpoints change, against the same nginx with a static upstream. */
export async function http(plan: Plan, say: Say): Promise<Row[]> {
  const lab = await startLab();
  try {
    return await measure(lab, plan, say);
  } finally {
    await lab.stop();
  }
}

async function measure(lab: Lab, plan: Plan, say: Say): Promise<Row[]> {
  const wrk = await startWrk();
  lab.after(wrk.stop);
  const backends = await startBackends(4, 4);
  lab.after(backends.stop);
  const { endpoints } = backends;
  await Promise.all(endpoints.map((endpoint) => register(lab.consul, 'web', endpoint)));
  const member = await lab.member('bench', {}, [UNASKED]);
  await eventually(
    'the load balancer serves',
    async () => (await member.get()).status === 200 && (await peersOf(member)) === endpoints.length,
  );
  const baseline = await startBaseline('nginx', staticNginx(await renderedConf(member), endpoints), QUIET);
  lab.after(baseline.stop);
  await eventually('the baseline serves', async () => (await wrkOnce(wrk, baseline.address)) > 0);

  const sidecar = await member.sidecarPid();
  const version = await liveVersion(member);
  const churn = startChurn(lab.consul, 'web', endpoints.slice(-4), CHURN_PER_SECOND);
  const compared = await compare({
    ours: { container: member.container, url: `http://${member.address}:80/`, sidecar },
    baseline: { container: baseline.container, url: `http://${baseline.address}:80/` },
    ...{ wrk, load: { connections: CONNECTIONS }, plan, say },
  });

  const load = await startLoad({ url: `http://${member.address}:80/`, concurrency: 8 });
  await sleep(plan.exactSeconds * 1000);
  const exact = await load.stop();
  const changes = await churn.stop();
  const tables = (await liveVersion(member)) - version;
  say(
    `${changes} changes in Consul made ${tables} tables of nginx while it was not frozen; ${exact.sent} requests accounted for one by one`,
  );

  const failed = compared.failed.ours + exact.failed;
  const reasons = exact.failed > 0 ? ` ${JSON.stringify(exact.byReason)}` : '';
  return [
    ...ratioRows('http', 'nginx', compared),
    {
      figure: `http: failed requests under ${CHURN_PER_SECOND} changes/s`,
      bar: '0',
      measured: `${failed} of ${compared.requests + exact.sent}${reasons}`,
      met: failed === 0,
      values: { failed, requests: compared.requests + exact.sent, tables },
    },
  ];
}

export async function peersOf(member: Member, group = 'default'): Promise<number> {
  const { workers } = await member.peers();
  return Math.min(...workers.filter((worker) => worker.groups[group]).map((worker) => worker.groups[group]?.peers.length ?? 0));
}

export const liveVersion = async (member: Member) => (await member.status()).liveVersion;

function renderedConf(member: Member): Promise<string> {
  return docker('exec', member.container, 'cat', '/var/lib/xlb/nginx/current/nginx.conf');
}

async function wrkOnce(wrk: Awaited<ReturnType<typeof startWrk>>, address: string): Promise<number> {
  const { requests, failed } = await wrk.run({ url: `http://${address}:80/`, seconds: 1, connections: 1 });
  return failed === 0 ? requests : 0;
}
