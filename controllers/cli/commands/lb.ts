import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Command, type Context, type Input, listArg, listOption, textArg, textOption } from '#cli/command.ts';
import { logsCommand, pathOf, Sentence, type ServiceKind } from '#cli/commands/service.ts';
import { parseLabels, parsePairs, wholeNumber } from '#cli/labels.ts';
import { colourStatus, table } from '#cli/output.ts';
import { waitGone, waitReady } from '#cli/waiting.ts';
import { AppError, systemCode } from '#core/errors.ts';

const Peer = z.object({
  address: z.string(),
  container: z.string(),
  weight: z.number(),
  state: z.string(),
  active: z.number(),
  requests: z.number(),
});
const LbView = z.looseObject({
  name: z.string(),
  status: z.string(),
  sentence: z.string(),
  code: z.string().optional(),
  listeners: z.array(z.object({ proto: z.string(), port: z.number() })),
  instances: z.array(z.looseObject({ id: z.string(), node: z.string(), generation: z.string(), liveVersion: z.number() })),
  targets: z.array(z.object({ name: z.string(), peers: z.array(Peer) })),
  rules: z.array(z.object({ listen: z.string(), host: z.string().optional(), path: z.string(), group: z.string() })).default([]),
  publish: z.array(z.object({ hostPort: z.number(), port: z.number() })).default([]),
  certs: z.array(z.object({ host: z.string(), notAfter: z.string() })).default([]),
  next: z.array(z.string()).default([]),
});
type LbView = z.infer<typeof LbView>;

const LB: ServiceKind = { kind: 'lb', path: '/v1/lbs' };

const ROUTE_LABELS = ['port', 'weight', 'host', 'path', 'listen'] as const;

export const lbCommands: readonly Command[] = [
  {
    path: ['lb', 'create'],
    summary: 'make a load balancer',
    args: ['<name>'],
    options: [
      { flags: '-d, --driver <image>', about: 'the appliance', default: 'xlb' },
      { flags: '--listen <proto:port>', about: 'a listener: http:80, https:443, tcp:3306 (default http:80)', repeat: true },
      { flags: '--replicas <n>', about: 'members, spread over the fault groups (default 2, or 1 on a pool of one host)' },
      { flags: '--network <net>', about: 'the attachable overlay its targets are on', default: 'xcaas' },
      { flags: '--publish <hostport:port>', about: 'a port of each host a member lives on', repeat: true },
    ],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const driver = textOption(input, 'driver');
      onlyXlb(driver, '-d');
      await context.api.post(LB.path, {
        name,
        listen: listOption(input, 'listen'),
        replicas: wholeNumber(textOption(input, 'replicas'), '--replicas'),
        network: textOption(input, 'network'),
        publish: listOption(input, 'publish'),
      });
      await showWhenReady(context, name);
    },
  },
  {
    path: ['lb', 'list'],
    summary: 'all load balancers',
    async run({ api, out }) {
      const lbs = z.array(LbView.pick({ name: true, status: true, sentence: true, listeners: true })).parse(await api.get(LB.path));
      out.result(lbs, () =>
        table(
          ['NAME', 'STATUS', 'LISTENERS', 'SENTENCE'],
          lbs.map((lb) => [lb.name, lb.status, lb.listeners.map((l) => `${l.proto}:${l.port}`).join(' '), lb.sentence]),
        ),
      );
    },
  },
  {
    path: ['lb', 'status'],
    summary: 'what it is doing now',
    args: ['<name>'],
    async run(context, input) {
      const lb = await view(context, textArg(input, 0));
      context.out.result(lb, () => describe(lb));
      context.health(lb.status);
    },
  },
  {
    path: ['lb', 'peers'],
    summary: "each worker's own table of endpoints",
    args: ['<name>'],
    async run({ api, out }, input) {
      const members = z.array(MemberPeers).parse(await api.get(pathOf(LB, textArg(input, 0), '/peers')));
      out.result(members, () =>
        table(
          ['MEMBER', 'WORKER', 'GROUP', 'VERSION', 'ADDRESS', 'CONTAINER', 'WEIGHT', 'STATE', 'ACTIVE', 'REQUESTS'],
          members.flatMap((member) =>
            member.workers.flatMap((worker) =>
              Object.entries(worker.groups).flatMap(([group, { version, peers }]) =>
                peers.map((p) => [
                  member.member,
                  worker.worker,
                  group,
                  version,
                  `${p.address}:${p.port}`,
                  p.container,
                  p.weight,
                  p.state === 'up' && !p.healthy ? 'down' : p.state,
                  p.active,
                  p.requests,
                ]),
              ),
            ),
          ),
        ),
      );
    },
  },
  {
    path: ['lb', 'add_container'],
    summary: 'send it requests: a container of the pool, by name (followed when it is created again) or by id',
    args: ['<lb>'],
    options: [
      { flags: '--type <type>', about: 'the appliance', default: 'xlb' },
      { flags: '-l, --label <key=value>', about: 'container=ID (needed), port=, weight=, host=, path=, listen=', repeat: true },
    ],
    changes: true,
    async run(context, input) {
      onlyXlb(textOption(input, 'type'), '--type');
      const lb = textArg(input, 0);
      const { container, ...route } = labelsOf(input, ['container', ...ROUTE_LABELS], 'container');
      const added = AddedTarget.parse(await context.api.post(pathOf(LB, lb, '/containers'), { container, ...routeBody(route) }));
      if (context.wait) await waitForPeer(context, lb, added.target);
      context.out.result(added, () => added.sentence);
    },
  },
  {
    path: ['lb', 'remove_container'],
    summary: 'let its requests end, then send it no more',
    args: ['<lb>'],
    options: [
      { flags: '-l, --label <key=value>', about: 'container=ID (needed), port=, host=, path=, listen=', repeat: true },
      { flags: '--drain <seconds>', about: 'how long requests in flight may take', default: '30' },
    ],
    changes: true,
    async run(context, input) {
      const { container, ...route } = labelsOf(input, ['container', 'port', 'host', 'path', 'listen'], 'container');
      const drainSeconds = wholeNumber(textOption(input, 'drain'), '--drain') ?? 0;
      const path = pathOf(LB, textArg(input, 0), '/containers/remove');
      await followDrain(context, path, { container, ...routeBody(route), drainSeconds });
    },
  },
  {
    path: ['lb', 'add_service'],
    summary: 'send requests to all instances of a Consul service',
    args: ['<lb>'],
    options: [
      { flags: '--service <name>', about: 'name of the Consul service' },
      { flags: '-l, --label <key=value>', about: 'host=, path=, listen=', repeat: true },
    ],
    changes: true,
    async run({ api, out }, input) {
      const { host, path, listen, ...others } = parseLabels(listOption(input, 'label'), ROUTE_LABELS);
      for (const label of Object.keys(others)) {
        throw new AppError('not_implemented', `-l ${label} of a whole service is not built yet`, {
          hint: `its instances bring their own ${label} from Consul`,
        });
      }
      const service = needed(input, 'service');
      const done = Sentence.parse(await api.post(pathOf(LB, textArg(input, 0), '/services'), { service, host, path, listen }));
      out.result(done, () => done.sentence);
    },
  },
  {
    path: ['lb', 'remove_service'],
    summary: 'send the instances of a Consul service no more requests',
    args: ['<lb>'],
    options: [{ flags: '--service <name>', about: 'name of the Consul service' }],
    changes: true,
    async run({ api, out }, input) {
      const path = pathOf(LB, textArg(input, 0), `/services/${encodeURIComponent(needed(input, 'service'))}`);
      const done = Sentence.parse(await api.delete(path));
      out.result(done, () => done.sentence);
    },
  },
  ...(['add', 'remove'] as const).map(
    (verb): Command => ({
      path: ['lb', 'listener', verb],
      summary: `${verb} listeners`,
      args: ['<lb>', '<proto:port...>'],
      changes: true,
      async run(context, input) {
        const lb = textArg(input, 0);
        await context.api.post(pathOf(LB, lb, `/listeners/${verb}`), { listen: listArg(input, 1) });
        await showWhenReady(context, lb);
      },
    }),
  ),
  {
    path: ['lb', 'rule', 'add'],
    summary: 'send requests of a host or path to a target group of their own',
    args: ['<lb>'],
    options: [
      { flags: '--host <host>', about: 'www.example.org or *.example.org' },
      { flags: '--path <prefix>', about: 'path prefix', default: '/' },
      { flags: '--listen <proto:port>', about: 'one listener only' },
      { flags: '--to <group>', about: 'name of the target group; made when it is new. GROUP:WEIGHT,… is not built yet' },
      { flags: '--header <k=v>', about: 'not built yet' },
      { flags: '--cookie <k=v>', about: 'not built yet' },
    ],
    changes: true,
    async run(context, input) {
      for (const option of ['header', 'cookie']) {
        if (input.options[option] !== undefined) throw new AppError('not_implemented', `rules by ${option} are not built yet`);
      }
      const lb = textArg(input, 0);
      const body = {
        host: textOption(input, 'host'),
        path: textOption(input, 'path'),
        listen: textOption(input, 'listen'),
        to: oneTarget(needed(input, 'to')),
      };
      await context.api.post(pathOf(LB, lb, '/rules'), body);
      await showWhenReady(context, lb);
    },
  },
  {
    path: ['lb', 'rule', 'list'],
    summary: 'its rules',
    args: ['<lb>'],
    async run(context, input) {
      const { rules } = await view(context, textArg(input, 0));
      context.out.result(rules, () =>
        table(
          ['LISTENER', 'HOST', 'PATH', 'GROUP'],
          rules.map((rule) => [rule.listen, rule.host ?? '*', rule.path, rule.group]),
        ),
      );
    },
  },
  {
    path: ['lb', 'rule', 'remove'],
    summary: 'remove a rule',
    args: ['<lb>'],
    options: [
      { flags: '--host <host>', about: 'its host' },
      { flags: '--path <prefix>', about: 'its path', default: '/' },
      { flags: '--listen <proto:port>', about: 'its listener' },
      { flags: '--to <group>', about: 'only when it leads there' },
    ],
    changes: true,
    async run(context, input) {
      const lb = textArg(input, 0);
      const body = { host: textOption(input, 'host'), path: textOption(input, 'path'), listen: textOption(input, 'listen') };
      const to = textOption(input, 'to');
      if (to !== undefined) await refuseOther(context, lb, { ...body, to: oneTarget(to) });
      await context.api.post(pathOf(LB, lb, '/rules/remove'), body);
      await showWhenReady(context, lb);
    },
  },
  {
    path: ['lb', 'cert', 'add'],
    summary: 'add or replace the certificate of a host',
    args: ['<lb>'],
    options: [
      { flags: '--host <host>', about: 'the host it is for' },
      { flags: '--cert <file>', about: 'PEM file: the certificate, then its chain' },
      { flags: '--key <file>', about: 'PEM file: the private key' },
    ],
    changes: true,
    async run({ api, out }, input) {
      const [cert, key] = await Promise.all([readPem(needed(input, 'cert')), readPem(needed(input, 'key'))]);
      const path = pathOf(LB, textArg(input, 0), '/certs');
      const done = Sentence.parse(await api.post(path, { host: needed(input, 'host'), cert, key }));
      out.result(done, () => done.sentence);
    },
  },
  {
    path: ['lb', 'cert', 'list'],
    summary: 'its certificates',
    args: ['<lb>'],
    async run(context, input) {
      const { certs } = await view(context, textArg(input, 0));
      context.out.result(certs, () =>
        table(
          ['HOST', 'VALID UNTIL'],
          certs.map((cert) => [cert.host, cert.notAfter]),
        ),
      );
    },
  },
  {
    path: ['lb', 'cert', 'remove'],
    summary: 'remove the certificate of a host',
    args: ['<lb>'],
    options: [{ flags: '--host <host>', about: 'the host' }],
    changes: true,
    async run({ api, out }, input) {
      const path = pathOf(LB, textArg(input, 0), `/certs/${encodeURIComponent(needed(input, 'host'))}`);
      const done = Sentence.parse(await api.delete(path));
      out.result(done, () => done.sentence);
    },
  },
  {
    path: ['lb', 'set'],
    summary: 'change settings: read-timeout=30s, GROUP.algorithm=least_conn, … (see the README)',
    args: ['<lb>', '<key=value...>'],
    changes: true,
    async run(context, input) {
      const lb = textArg(input, 0);
      await context.api.patch(pathOf(LB, lb), { set: parsePairs(listArg(input, 1)) });
      await showWhenReady(context, lb);
    },
  },
  logsCommand(LB),
  {
    path: ['lb', 'destroy'],
    summary: 'remove a load balancer',
    args: ['<name>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run(context, input) {
      const name = textArg(input, 0);
      const lb = await view(context, name);
      await context.confirm(`Remove ${name} with its ${lb.instances.length} members?`);
      await context.api.delete(pathOf(LB, name));
      if (context.wait) await waitGone(context, name, () => view(context, name));
      context.out.result({ name, destroyed: true }, () => `${name} is removed`);
    },
  },
];

const AddedTarget = Sentence.extend({ target: z.string() });
const MemberPeers = z.looseObject({
  member: z.string(),
  workers: z.array(
    z.object({
      worker: z.string(),
      groups: z.record(
        z.string(),
        z.object({ version: z.number(), peers: z.array(Peer.extend({ port: z.number(), healthy: z.boolean() })) }),
      ),
    }),
  ),
});

async function view({ api }: Context, name: string): Promise<LbView> {
  return LbView.parse(await api.get(pathOf(LB, name)));
}

async function showWhenReady(context: Context, name: string): Promise<void> {
  const lb = context.wait ? await waitReady(context, name, () => view(context, name)) : await view(context, name);
  context.out.result(lb, () => describe(lb));
}

/** Until every member's table has the target's container and can reach it. */
async function waitForPeer(context: Context, lb: string, target: string): Promise<void> {
  const look = async () => {
    const seen = await context.api.get(pathOf(LB, lb, `/targets/${encodeURIComponent(target)}`));
    const { live, sentence } = z.object({ live: z.boolean(), sentence: z.string() }).parse(seen);
    return { status: live ? 'READY' : 'PENDING', sentence };
  };
  await waitReady(context, lb, look);
}

/** Shows the number of requests in flight as it falls; the last line is the result. `--timeout` counts from the end of the drain's own time. */
export async function followDrain(context: Context, path: string, body: { drainSeconds: number } & Record<string, unknown>): Promise<void> {
  let last: z.infer<typeof DrainLine> | undefined;
  const tell = (value: unknown) => {
    last = DrainLine.parse(value);
    if (!last.done) context.out.progress(last.sentence);
  };
  await context.api.lines('POST', path, body, tell, { timeoutMs: body.drainSeconds * 1000 + context.timeoutMs });
  if (last?.done !== true)
    throw new AppError('unavailable', 'the control plane stopped in the middle of the drain', { hint: 'type the command again' });
  const done = last;
  context.out.result(done, () => done.sentence);
}
const DrainLine = z.looseObject({ active: z.number(), sentence: z.string(), done: z.boolean() });

function labelsOf(input: Input, known: readonly string[], required: string): Record<string, string> {
  const labels = parseLabels(listOption(input, 'label'), known);
  if (labels[required] === undefined) throw new AppError('usage', `-l ${required}=… is missing`);
  return labels;
}

function routeBody(route: Record<string, string>): Record<string, unknown> {
  return {
    ...(route.port === undefined ? {} : { port: wholeNumber(route.port, '-l port') }),
    ...(route.weight === undefined ? {} : { weight: wholeNumber(route.weight, '-l weight') }),
    host: route.host?.toLowerCase(),
    path: route.path,
    listen: route.listen,
  };
}

function onlyXlb(given: string | undefined, option: string): void {
  if (given === 'xlb') return;
  throw new AppError('usage', `${option} ${given} is no load balancer`, { hint: `use ${option} xlb, or leave it away` });
}

/** A single target gets everything, whatever its weight. */
function oneTarget(to: string): string {
  const single = /^([^:,]+)(:[1-9]\d*)?$/.exec(to)?.[1];
  if (single !== undefined) return single;
  throw new AppError('not_implemented', 'rules with several weighted target groups are not built yet', { hint: '--to takes one group' });
}

/** @throws AppError `not_found` when the rule leads elsewhere, or there is none */
async function refuseOther(
  context: Context,
  lb: string,
  rule: { host: string | undefined; path: string | undefined; listen: string | undefined; to: string },
): Promise<void> {
  const { rules } = await view(context, lb);
  const found = rules.find(
    (each) => each.host === rule.host?.toLowerCase() && each.path === (rule.path ?? '/') && (rule.listen ?? each.listen) === each.listen,
  );
  if (found?.group === rule.to) return;
  const where = `${rule.host ?? 'any host'}${rule.path ?? '/'}`;
  throw new AppError('not_found', `${lb} has no rule for ${where} that leads to ${rule.to}`, { hint: `lb rule list ${lb}` });
}

function needed(input: Input, option: string): string {
  const value = textOption(input, option);
  if (value === undefined) throw new AppError('usage', `--${option} is missing`);
  return value;
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new AppError('usage', `${path} cannot be read: ${systemCode(error) ?? 'unknown'}`, { cause: error });
  }
}

function describe(lb: LbView): string {
  const lines = [
    `${lb.name}  ${colourStatus(lb.status)}  ${lb.sentence}`,
    `listeners  ${lb.listeners.map((l) => `${l.proto}:${l.port}`).join('  ') || 'none'}`,
    ...(lb.publish.length > 0 ? [`published  ${lb.publish.map((p) => `${p.hostPort}→${p.port}`).join('  ')}`] : []),
    ...(lb.next.length > 0 ? [`next       ${lb.next.join(' · ')}`] : []),
    '',
    table(
      ['MEMBER', 'HOST', 'GENERATION', 'LIVE VERSION'],
      lb.instances.map((i) => [i.id, i.node, i.generation.slice(0, 12), i.liveVersion]),
    ),
    '',
    table(
      ['GROUP', 'ADDRESS', 'CONTAINER', 'WEIGHT', 'STATE', 'ACTIVE', 'REQUESTS'],
      lb.targets.flatMap((target) =>
        target.peers.map((p) => [target.name, p.address, p.container, p.weight, p.state, p.active, p.requests]),
      ),
    ),
  ];
  return lines.join('\n');
}
