import { z } from 'zod';
import type { Context } from '#cli/command.ts';
import { pathOf, type ServiceKind } from '#cli/commands/service.ts';
import { bytes, colourStatus, table } from '#cli/output.ts';
import { waitSettled as waitService } from '#cli/waiting.ts';

const Member = z.looseObject({
  id: z.string(),
  role: z.string(),
  state: z.string(),
  sentence: z.string().default(''),
  node: z.string(),
  group: z.string(),
  shard: z.number().default(0),
  insync: z.boolean().default(false),
  offset: z.number().nullable(),
  usedBytes: z.number().nullable(),
  maxBytes: z.number().nullable(),
  slots: z.number().nullable(),
  changing: z.boolean().default(false),
});
type Member = z.infer<typeof Member>;
export const CacheView = z.looseObject({
  name: z.string(),
  status: z.string(),
  sentence: z.string(),
  code: z.string().optional(),
  engine: z.string(),
  version: z.string(),
  mode: z.string(),
  epoch: z.number(),
  master: z.string().nullable(),
  endpoint: z.object({
    host: z.string(),
    port: z.number(),
    replicaPort: z.number().nullable(),
    sentinelPort: z.number().nullable(),
    network: z.string(),
    published: z.array(z.object({ host: z.string(), hostPort: z.number(), port: z.number() })),
  }),
  members: z.array(Member),
  persistence: z.string(),
  policy: z.string(),
  replicas: z.number(),
  shards: z.number(),
  cluster: z.looseObject({ state: z.string(), progress: z.looseObject({ total: z.number(), left: z.number() }).nullable() }).optional(),
  next: z.array(z.string()),
});
export type CacheView = z.infer<typeof CacheView>;

export const CACHE: ServiceKind = { kind: 'cache', path: '/v1/caches' };
export const cachePath = (name: string, rest = '') => pathOf(CACHE, name, rest);

export async function viewCache({ api }: Context, name: string): Promise<CacheView> {
  return CacheView.parse(await api.get(cachePath(name)));
}

export interface SettledOptions {
  /** How it was before the change: READY then is READY again. */
  before?: Pick<CacheView, 'status'>;
  /** What must be so besides. */
  settled?: (cache: CacheView) => boolean;
}

/** Shows it, once it is as it was asked for: made, and every member with the last change. */
export async function showWhenSettled(context: Context, name: string, options: SettledOptions = {}): Promise<void> {
  const cache = context.wait ? await waitSettled(context, name, options) : await viewCache(context, name);
  context.out.result(cache, () => describeCache(cache));
}

export function waitSettled(context: Context, name: string, { before, settled = () => true }: SettledOptions = {}): Promise<CacheView> {
  return waitService(context, name, () => viewCache(context, name), { before, settled });
}

export function describeCache(cache: CacheView): string {
  const { endpoint, mode, cluster } = cache;
  const isCluster = mode === 'cluster';
  const ports = isCluster
    ? `${endpoint.host}:${endpoint.port} any member (cluster clients)`
    : `${endpoint.host}:${endpoint.port} master  ${endpoint.host}:${endpoint.replicaPort} replica  ${endpoint.host}:${endpoint.sentinelPort} Sentinel`;
  const published = endpoint.published.map(({ host, hostPort, port }) => `${host}:${hostPort}→${port}`);
  const progress =
    cluster?.progress == null ? '' : `  ${cluster.progress.total - cluster.progress.left} of ${cluster.progress.total} slots moved`;
  return [
    `${cache.name}  ${colourStatus(cache.status)}  ${cache.sentence}`,
    `endpoint   ${ports}  (network ${endpoint.network})`,
    ...(published.length > 0 ? [`published  ${published.join('  ')}`] : []),
    `engine     ${cache.engine} ${cache.version}`.trimEnd(),
    `keeps      ${cache.persistence === 'none' ? 'nothing on disk' : `${cache.persistence} on disk`}, ${cache.policy}`,
    ...(isCluster ? [`cluster    ${cluster?.state ?? 'being made'}${progress}`] : []),
    ...(cache.next.length > 0 ? [`next       ${cache.next.join(' · ')}`] : []),
    '',
    table(
      ['MEMBER', ...(isCluster ? ['SHARD'] : []), 'ROLE', 'STATE', 'HOST', 'GROUP', 'USED', isCluster ? 'SLOTS' : 'OFFSET'],
      cache.members.map((member) => [
        member.id,
        ...(isCluster ? [member.shard] : []),
        roleOf(member),
        member.state,
        member.node,
        member.group,
        member.usedBytes === null || member.maxBytes === null ? '' : `${bytes(member.usedBytes)} of ${bytes(member.maxBytes)}`,
        (isCluster ? member.slots : member.offset) ?? '',
      ]),
    ),
  ].join('\n');
}

function roleOf({ role, insync }: Member): string {
  return insync ? `${role} (in sync)` : role;
}

/** Who follows whom, as a tree. */
export function drawTopology(cache: CacheView): string {
  const lines = [`${cache.name}  ${colourStatus(cache.status)}  epoch ${cache.epoch}`];
  const shards = [...new Set(cache.members.map(({ shard }) => shard))].toSorted((a, b) => a - b);
  for (const shard of shards) {
    const members = cache.members.filter((member) => member.shard === shard);
    const master = members.find(({ role }) => role === 'master');
    const others = members.filter((member) => member !== master);
    lines.push(master === undefined ? 'nobody leads' : say(master));
    for (const [index, member] of others.entries()) {
      const last = index === others.length - 1;
      const [first = '', ...rest] = say(member).split('\n');
      lines.push(`${last ? '└─' : '├─'} ${first}`, ...rest.map((line) => `${last ? '  ' : '│ '} ${line}`));
    }
  }
  return lines.join('\n');
}

function say(member: Member): string {
  const slots = member.slots === null || member.slots === 0 ? '' : `  ${member.slots} slots`;
  const line = `${member.id}  ${roleOf(member)}  ${member.state}  on ${member.node || '?'} (${member.group || '?'})${slots}`;
  return member.sentence === '' ? line : `${line}\n   ${member.sentence}`;
}
