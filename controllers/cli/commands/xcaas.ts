import { z } from 'zod';
import { type Command, flag, listArg, textArg, textOption } from '#cli/command.ts';
import { doctorCommands } from '#cli/commands/doctor.ts';
import { followDrain } from '#cli/commands/lb.ts';
import { parsePairs, wholeNumber } from '#cli/labels.ts';
import { bytes, colourStatus, table } from '#cli/output.ts';
import { VERSION } from '#core/version.ts';

const Resources = z.object({ cpus: z.number(), memoryBytes: z.number(), diskBytes: z.number() });
const Node = Resources.extend({
  id: z.string(),
  name: z.string(),
  address: z.string(),
  state: z.string(),
  group: z.string(),
  rack: z.string(),
  labels: z.record(z.string(), z.string()),
  manager: z.boolean(),
  reserved: Resources,
});
const PoolStatus = z.looseObject({
  status: z.string(),
  sentence: z.string(),
  survives: z.string(),
  nodes: z.number(),
  services: z.array(z.object({ kind: z.string(), name: z.string(), status: z.string(), sentence: z.string() })),
  next: z.array(z.string()),
});
const Event = z.looseObject({ time: z.string(), object: z.string(), kind: z.string(), reason: z.string(), sentence: z.string() });
const Token = z.looseObject({ id: z.string(), name: z.string(), role: z.string(), created: z.string(), expires: z.string().optional() });

export const xcaasCommands: readonly Command[] = [
  {
    path: ['status'],
    summary: 'the pool, what its shape survives, and every service in a sentence',
    async run({ api, out, health }) {
      const pool = PoolStatus.parse(await api.get('/v1/status'));
      out.result(pool, () =>
        [
          `pool  ${colourStatus(pool.status)}  ${pool.sentence}`,
          `      ${pool.survives}`,
          ...(pool.next.length > 0 ? [`next  ${pool.next.join(' · ')}`] : []),
          '',
          table(
            ['KIND', 'NAME', 'STATUS', 'SENTENCE'],
            pool.services.map((s) => [s.kind, s.name, s.status, s.sentence]),
          ),
        ].join('\n'),
      );
      health(pool.status);
    },
  },
  ...doctorCommands,
  {
    path: ['nodes'],
    summary: 'the hosts of the pool',
    async run({ api, out }) {
      const nodes = z.array(Node).parse(await api.get('/v1/nodes'));
      out.result(nodes, () =>
        table(
          ['NAME', 'ADDRESS', 'STATE', 'GROUP', 'RACK', 'MANAGER', 'CPUS', 'MEMORY', 'DISK', 'RESERVED'],
          nodes.map((n) => [
            n.name,
            n.address,
            n.state,
            n.group,
            n.rack,
            n.manager ? 'yes' : 'no',
            n.cpus,
            bytes(n.memoryBytes),
            bytes(n.diskBytes),
            `${n.reserved.cpus} cpus, ${bytes(n.reserved.memoryBytes)}, ${bytes(n.reserved.diskBytes)}`,
          ]),
        ),
      );
    },
  },
  {
    path: ['node', 'label'],
    summary: 'set labels of a host; KEY= removes a label',
    args: ['<node>', '<key=value...>'],
    changes: true,
    async run({ api, out }, input) {
      const node = Node.parse(
        await api.patch(`/v1/nodes/${encodeURIComponent(textArg(input, 0))}`, { labels: parsePairs(listArg(input, 1)) }),
      );
      out.result(
        node,
        () =>
          `${node.name}: ${Object.entries({ group: node.group, rack: node.rack, ...node.labels })
            .map(([k, v]) => `${k}=${v}`)
            .join(' ')}`,
      );
    },
  },
  ...(['drain', 'undrain'] as const).map(
    (verb): Command => ({
      path: ['node', verb],
      summary: verb === 'drain' ? 'place no new member on a host' : 'place members on a host again',
      args: ['<node>'],
      changes: true,
      async run({ api, out }, input) {
        const node = Node.parse(await api.post(`/v1/nodes/${encodeURIComponent(textArg(input, 0))}/${verb}`));
        out.result(node, () => `${node.name} is ${node.state}`);
      },
    }),
  ),
  {
    path: ['node', 'remove'],
    summary: 'take a host that is gone, or empty, out of the pool',
    args: ['<node>'],
    options: [{ flags: '--yes', about: 'do not ask' }],
    changes: true,
    async run({ api, out, confirm }, input) {
      const node = textArg(input, 0);
      await confirm(`Take ${node} out of the pool?`);
      const { troubles } = z
        .looseObject({ troubles: z.array(z.string()).default([]) })
        .parse(await api.delete(`/v1/nodes/${encodeURIComponent(node)}`));
      for (const trouble of troubles) out.note(`${node}: ${trouble}`);
      out.result({ node, removed: true, troubles }, () => `${node} is out of the pool`);
    },
  },
  {
    path: ['stop'],
    summary: 'stop a container after its load balancers have let its requests end',
    args: ['<container>'],
    options: [{ flags: '--drain <seconds>', about: 'how long requests in flight may take', default: '30' }],
    changes: true,
    async run(context, input) {
      const drainSeconds = wholeNumber(textOption(input, 'drain'), '--drain') ?? 0;
      await followDrain(context, `/v1/containers/${encodeURIComponent(textArg(input, 0))}/stop`, { drainSeconds });
    },
  },
  {
    path: ['join-token'],
    summary: 'the one command for a further host; good for an hour, once',
    changes: true,
    async run({ api, out }) {
      const made = z.object({ token: z.string(), command: z.string(), expires: z.string() }).parse(await api.post('/v1/join-tokens'));
      out.result(made, () => made.command);
    },
  },
  {
    path: ['token', 'create'],
    summary: 'an API token; it is shown once',
    args: ['<name>'],
    options: [
      { flags: '--role <role>', about: 'read, operate or admin', default: 'read' },
      { flags: '--ttl <hours>', about: 'hours until it expires; without it never' },
    ],
    changes: true,
    async run({ api, out }, input) {
      const body = { name: textArg(input, 0), role: textOption(input, 'role'), ttlHours: wholeNumber(textOption(input, 'ttl'), '--ttl') };
      const made = z.looseObject({ id: z.string(), token: z.string() }).parse(await api.post('/v1/tokens', body));
      out.result(made, () => made.token);
    },
  },
  {
    path: ['token', 'list'],
    summary: 'API tokens, without the tokens themselves',
    async run({ api, out }) {
      const tokens = z.array(Token).parse(await api.get('/v1/tokens'));
      out.result(tokens, () =>
        table(
          ['ID', 'NAME', 'ROLE', 'CREATED', 'EXPIRES'],
          tokens.map((t) => [t.id, t.name, t.role, t.created, t.expires ?? 'never']),
        ),
      );
    },
  },
  {
    path: ['token', 'revoke'],
    summary: 'revoke an API token',
    args: ['<id>'],
    changes: true,
    async run({ api, out }, input) {
      await api.delete(`/v1/tokens/${encodeURIComponent(textArg(input, 0))}`);
      out.result({ id: textArg(input, 0), revoked: true }, () => `${textArg(input, 0)} is revoked`);
    },
  },
  {
    path: ['events'],
    summary: 'what happened, newest last',
    options: [{ flags: '--follow', about: 'go on as they happen' }],
    async run({ api, out }, input) {
      const text = (event: z.infer<typeof Event>) => `${event.time}  ${event.object}  ${event.kind}  ${event.sentence}`;
      if (flag(input, 'follow')) {
        await api.lines('GET', '/v1/events?follow=true', undefined, (value) => {
          const event = Event.parse(value);
          out.line(event, text(event));
        });
        return;
      }
      const events = z.array(Event).parse(await api.get('/v1/events'));
      out.result(events, () => events.map(text).join('\n'));
    },
  },
  {
    path: ['version'],
    summary: 'versions of this program and of the control plane',
    async run({ api, out }) {
      const control = z.looseObject({ version: z.string() }).parse(await api.get('/v1/version'));
      out.result({ cli: VERSION, control: control.version }, () => `cli ${VERSION}, control ${control.version}`);
    },
  },
];
