import { z } from 'zod';
import type { ApiClient } from '#cli/api-client.ts';
import type { Command } from '#cli/command.ts';
import { AppError, hasCode, toAppError } from '#core/errors.ts';
import { VERSION } from '#core/version.ts';

/** What was looked at, what was found, and what mends it. */
interface Check {
  name: string;
  ok: boolean;
  sentence: string;
  hint?: string;
}

const Health = z.looseObject({ control: z.string(), consul: z.string() });
const Version = z.looseObject({ version: z.string() });
const Nodes = z.array(z.looseObject({ name: z.string(), state: z.string(), version: z.string().default('') }));
const Status = z.looseObject({
  survives: z.string(),
  services: z.array(z.object({ kind: z.string(), name: z.string(), status: z.string(), sentence: z.string() })),
});

/** Without these nothing can be asked for: the pool counts as down. */
const NEEDED = new Set(['agent', 'control', 'token']);

export const doctorCommands: readonly Command[] = [
  {
    path: ['doctor'],
    summary: 'look at every part of the pool and say what mends what is wrong',
    async run({ api, out, health }) {
      const checks = await examine(api);
      const bad = checks.filter(({ ok }) => !ok);
      const status = bad.length === 0 ? 'READY' : bad.some(({ name }) => NEEDED.has(name)) ? 'DOWN' : 'DEGRADED';
      const sentence = bad.length === 0 ? 'nothing is wrong' : `${bad.length} of ${checks.length} checks found something`;
      out.result({ status, sentence, checks }, () =>
        [
          ...checks.flatMap((check) => [
            `${check.ok ? 'ok  ' : 'BAD '} ${check.name}: ${check.sentence}`,
            ...(check.hint === undefined ? [] : [`      → ${check.hint}`]),
          ]),
          sentence,
        ].join('\n'),
      );
      health(status);
    },
  },
];

async function examine(api: ApiClient): Promise<Check[]> {
  const checks = await examineAgent(api);
  if (checks.some(({ ok, name }) => !ok && NEEDED.has(name))) return checks;
  try {
    const control = Version.parse(await api.get('/v1/version', { once: true }));
    checks.push({ name: 'token', ok: true, sentence: 'the API knows who asks' }, sameVersion('control', control.version));
    const [nodes, status] = await Promise.all([api.get('/v1/nodes'), api.get('/v1/status')]);
    checks.push(...examineNodes(Nodes.parse(nodes), control.version), ...examineServices(Status.parse(status)));
  } catch (thrown) {
    const isToken = hasCode(thrown, 'unauthenticated') || hasCode(thrown, 'forbidden');
    checks.push(failed(isToken ? 'token' : 'control', thrown));
  }
  return checks;
}

/** The agent of this host answers for itself, for Consul and for the way to control, also when these do not. */
async function examineAgent(api: ApiClient): Promise<Check[]> {
  try {
    const { control, consul } = Health.parse(await api.get('/v1/health', { once: true }));
    return [
      { name: 'agent', ok: true, sentence: 'it answers' },
      part('consul', consul, 'docker logs xcaas-consul; services go on, changes wait'),
      part('control', control, 'docker logs xcaas-control on a manager host; services go on, changes wait'),
    ];
  } catch (thrown) {
    // Control itself was asked: there is no agent in between.
    if (hasCode(thrown, 'not_found') || hasCode(thrown, 'unauthenticated')) return [];
    return [failed('agent', thrown)];
  }
}

function examineNodes(nodes: z.infer<typeof Nodes>, version: string): Check[] {
  const hosts = nodes.map(
    (node): Check => ({
      name: `host ${node.name}`,
      ok: node.state !== 'down',
      sentence: node.state === 'down' ? 'it does not answer' : `it is ${node.state}`,
      ...(node.state === 'down' ? { hint: `on ${node.name}: ./xcaas up; if it is gone for good: xcaas node remove ${node.name}` } : {}),
    }),
  );
  const others = nodes.filter((node) => node.version !== '' && node.version !== version);
  return [...hosts, ...others.map((node) => sameVersion(`agent of ${node.name}`, node.version, version))];
}

function examineServices({ survives, services }: z.infer<typeof Status>): Check[] {
  return [
    { name: 'shape', ok: true, sentence: survives },
    ...services.map(
      (service): Check => ({
        name: `${service.kind} ${service.name}`,
        ok: service.status === 'READY' || service.status === 'PAUSED',
        sentence: `${service.status}: ${service.sentence}`,
        ...(service.status === 'READY' ? {} : { hint: `${service.kind} status ${service.name}` }),
      }),
    ),
  ];
}

function sameVersion(what: string, version: string, wanted = VERSION): Check {
  return version === wanted
    ? { name: 'version', ok: true, sentence: `${what} is ${version}` }
    : { name: 'version', ok: false, sentence: `${what} is ${version}, not ${wanted}`, hint: 'run ./xcaas up of that version here' };
}

function part(name: string, said: string, hint: string): Check {
  return said === 'ok' ? { name, ok: true, sentence: 'it answers' } : { name, ok: false, sentence: said, hint };
}

function failed(name: string, thrown: unknown): Check {
  const { message, hint } = thrown instanceof AppError ? thrown : toAppError(thrown);
  return { name, ok: false, sentence: message, ...(hint === undefined ? {} : { hint }) };
}
