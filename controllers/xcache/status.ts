import { backupAlarm, backupsSeen } from '#backup/events.ts';
import { lossOf } from '#pool/lost-host.ts';
import { sharingOf } from '#pool/placement-sharing.ts';
import { destroyedVerdict } from '#pool/service-destroyed.ts';
import { resizedPlacements } from '#pool/service-plan.ts';
import { hostOf, isPaused, placementOf, placementsOf, sidecarOf } from '#pool/service-world.ts';
import { faultsOf } from '#xcache/cluster/placement.ts';
import { isPending } from '#xcache/plan/rolling.ts';
import { memberIds, type Observed, type Shard, shardsOf } from '#xcache/plan/world.ts';
import type { CacheSpec, CacheStatus } from '#xcache/schema.ts';

/** A word, a sentence and what to type next. */
type Verdict = Pick<CacheStatus, 'status' | 'sentence' | 'next' | 'code'>;
type Amiss = { sentence: string; next: string[] };

/** How long the making of a cache may take before what is missing counts as amiss: an image may have to be carried to a host. */
const MAKING_MS = 5 * 60_000;

/** What may pass by itself is no failure yet. */
const PASSING = new Set(['unavailable', 'timeout', 'cas_lost', 'engine', 'internal']);

/** Pure: the status of a cache, from the records and what its sidecars say of themselves. */
export function statusOf(spec: CacheSpec, observed: Observed, now: Date): CacheStatus {
  const verdict = verdictOf(spec, observed, now);
  const shards = shardsOf(spec, observed);
  const isWhole = verdict.status === 'READY' || (shards.every(({ master }) => master !== undefined) && !isIncomplete(spec, observed));
  const firstReady = observed.previous?.firstReady ?? (isWhole ? now.toISOString() : undefined);
  const masters = shards.flatMap(({ master }) => master ?? []);
  const seen = seenOf(spec, observed, masters);
  return {
    v: 1,
    ...verdict,
    specIndex: observed.specIndex,
    ...(spec.destroyed === undefined ? { changing: changing(spec, observed) } : {}),
    time: now.toISOString(),
    ...(firstReady === undefined ? {} : { firstReady }),
    ...(seen === undefined ? {} : { seen }),
    ...((observed.backups ?? []).length === 0 ? {} : { backups: backupsSeen(observed.backups ?? []) }),
  };
}

function seenOf(spec: CacheSpec, { lead, cluster }: Observed, masters: string[]): CacheStatus['seen'] {
  if (spec.mode !== 'cluster')
    return lead === undefined
      ? undefined
      : { epoch: lead.epoch, masters: [lead.master.id], insync: lead.insync.map(({ id }) => id).toSorted() };
  return cluster === undefined ? undefined : { epoch: 0, masters: masters.toSorted(), insync: [] };
}

function verdictOf(spec: CacheSpec, observed: Observed, now: Date): Verdict {
  if (spec.destroyed !== undefined) return destroyedVerdict('cache', spec, observed);
  const isBorn = spec.mode === 'cluster' ? observed.cluster?.born === true : observed.lead !== undefined;
  if (!isBorn) return unborn(spec, observed, now);
  const verdict = born(spec, observed, now);
  const making = observed.previous?.firstReady === undefined && now.getTime() - Date.parse(spec.created ?? '') < MAKING_MS;
  if (making && (verdict.status === 'DOWN' || (verdict.status === 'DEGRADED' && isIncomplete(spec, observed))))
    return { ...verdict, status: 'PENDING', next: [] };
  if (!isPaused(spec, now) || verdict.status === 'DOWN') return verdict;
  const rests = `failover and maintenance rest until ${spec.pausedUntil}`;
  return { ...verdict, status: 'PAUSED', sentence: `${rests}; ${verdict.sentence}`, next: [`cache resume ${spec.name}`] };
}

/** What passes while it is being made. */
function isIncomplete(spec: CacheSpec, observed: Observed): boolean {
  if (observed.cluster !== undefined && observed.cluster.state !== 'whole') return true;
  if (observed.refused !== undefined && PASSING.has(observed.refused.code)) return true;
  return shardsOf(spec, observed).some(({ insync }) => insync.length < spec.replicas);
}

/** Before anybody led: why not yet. */
function unborn(spec: CacheSpec, observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const { refused, birth } = observed;
  const next = [`cache logs ${name}`];
  if (birth?.done === true && spec.mode !== 'cluster')
    return { status: 'DOWN', sentence: `the record of who leads ${name} is gone from Consul, and nobody may guess it`, next };
  if (refused !== undefined && !PASSING.has(refused.code))
    return { status: 'FAILED', sentence: refused.message, code: refused.code, next: ['xcaas nodes', `cache destroy ${name} --purge`] };
  const failed = observed.sidecars.find(({ state }) => state === 'failed');
  if (failed !== undefined) return { status: 'FAILED', sentence: `${failed.member}: ${failed.sentence}`, code: 'conflict', next };
  const broken = observed.reports.find(({ error }) => error !== undefined && error !== '');
  if (broken !== undefined) return { status: 'DOWN', sentence: `${broken.id} does not run: ${broken.error}`, next };
  const made = memberIds(spec).map((member) => `${member} ${stateOf(member, observed, now)}`);
  const said = observed.cluster === undefined ? made.join('; ') : observed.cluster.sentence;
  return { status: 'PENDING', sentence: refused === undefined ? `${name} is being made: ${said}` : refused.message, next: [] };
}

function born(spec: CacheSpec, observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const shards = shardsOf(spec, observed);
  const wanted = shards.filter(({ shard }) => shard < spec.shards);
  const headless = wanted.filter(({ master }) => master === undefined);
  if (headless.length > 0) return headlessVerdict(spec, headless, observed, now);
  const amiss: Amiss[] = [
    ...wanted.flatMap((shard) => whyNotInSync(spec, shard, observed, now)),
    ...sharing(spec, observed),
    ...clusterAmiss(spec, observed),
    ...backupsAmiss(spec, observed),
    ...(observed.refused === undefined ? [] : [{ sentence: observed.refused.message, next: [`cache events ${name}`] }]),
  ];
  const takes = spec.mode === 'cluster' ? `${wanted.length} masters take writes` : `${wanted[0]?.master} takes writes`;
  if (amiss.length > 0) {
    const code = observed.refused === undefined ? {} : { code: observed.refused.code };
    const sentence = [takes, ...amiss.map((each) => each.sentence)].join('; ');
    return { status: 'DEGRADED', sentence, ...code, next: [...new Set(amiss.flatMap((each) => each.next))].slice(0, 3) };
  }
  const whole = wholeSentence(spec, wanted, observed);
  const late = changing(spec, observed);
  if (late.length > 0) return { status: 'PENDING', sentence: `${whole}; ${late.join(', ')} has yet to be changed`, next: [] };
  const surplus = memberIds(spec).length - wanted.length * (1 + spec.replicas);
  if (surplus !== 0)
    return {
      status: 'PENDING',
      sentence: `${whole}; ${surplus > 0 ? `${surplus} too many` : `${-surplus} more`} members are ${surplus > 0 ? 'taken away' : 'added'}`,
      next: [],
    };
  const { cluster } = observed;
  if (cluster?.state === 'moving') return { status: 'PENDING', sentence: `${whole}; ${cluster.sentence}`, next: [] };
  return { status: 'READY', sentence: whole, next: [] };
}

function backupsAmiss({ name }: CacheSpec, { backups = [] }: Observed): Amiss[] {
  const alarm = backupAlarm(backups);
  return alarm === undefined ? [] : [{ sentence: alarm, next: [`cache backup list ${name}`] }];
}

function wholeSentence(spec: CacheSpec, shards: readonly Shard[], observed: Observed): string {
  const where = (member: string) => `${member} on ${hostOf(member, observed)?.spec.name ?? 'a host that left the pool'}`;
  if (spec.mode === 'cluster') {
    const hosts = new Set(shards.flatMap(({ master }) => (master === undefined ? [] : (hostOf(master, observed)?.spec.name ?? []))));
    return `${shards.length} masters on ${hosts.size} hosts take writes, each with ${spec.replicas} in sync`;
  }
  const [shard] = shards;
  const master = where(shard?.master ?? '');
  const copies = shard?.insync ?? [];
  return copies.length === 0
    ? `${master} takes writes`
    : `${master} takes writes, ${copies.map(where).join(' and ')} ${copies.length === 1 ? 'is' : 'are'} in sync`;
}

/** Nobody takes writes for some of the data: for a moment, or who is waited for. */
function headlessVerdict(spec: CacheSpec, shards: readonly Shard[], observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const { lead, cluster } = observed;
  const states = (members: readonly string[]) => members.map((member) => `${member} ${stateOf(member, observed, now)}`).join('; ');
  if (spec.mode === 'cluster') {
    const lost = shards.map(({ shard, members }) => `shard ${shard} has no master (${states(members)})`);
    const said = cluster === undefined ? '' : `${cluster.sentence}; `;
    return { status: 'DOWN', sentence: `${said}${lost.join('; ')}`, next: [`cache topology ${name}`, 'xcaas nodes'] };
  }
  const next = [`cache topology ${name}`, 'xcaas nodes'];
  if (lead?.state === 'handing')
    return {
      status: 'DEGRADED',
      sentence: `writes wait while ${lead.target?.id ?? 'a replica'} takes over from ${lead.master.id}`,
      next: [],
    };
  if (lead?.state === 'promoting')
    return {
      status: 'DOWN',
      sentence: `${lead.master.id} takes over (epoch ${lead.epoch}): ${saidBy(lead.master.id, observed) ?? stateOf(lead.master.id, observed, now)}`,
      next,
    };
  const members = shards[0]?.members ?? [];
  return { status: 'DOWN', sentence: `nobody takes writes: ${states(members)}`, next };
}

function saidBy(member: string, observed: Observed): string | undefined {
  return sidecarOf(member, observed)?.sentence;
}

function whyNotInSync(spec: CacheSpec, { shard, members, master, insync }: Shard, observed: Observed, now: Date): Amiss[] {
  if (insync.length >= spec.replicas) return [];
  const others = members.filter((member) => member !== master && !insync.includes(member));
  const why =
    others.length === 0 ? 'no other member is there yet' : others.map((member) => `${member} ${stateOf(member, observed, now)}`).join('; ');
  const of = spec.mode === 'cluster' ? ` of shard ${shard}` : '';
  const count = insync.length === 0 ? `no replica${of} is in sync` : `${insync.length} of ${spec.replicas} replicas${of} are in sync`;
  return [{ sentence: `${count}: ${why}`, next: [`cache topology ${spec.name}`] }];
}

/** Members of one shard that one failure takes down together; of a cluster, groups that hold too many masters. */
function sharing(spec: CacheSpec, observed: Observed): Amiss[] {
  const next = ['xcaas nodes', 'xcaas join-token'];
  // Where the pool has one group only, hosts are as far apart as can be.
  const groups = new Set(observed.hosts.map((host) => host.spec.group));
  const shards = shardsOf(spec, observed);
  const found = shards.flatMap(({ members }) => {
    const placed = placementsOf(spec, observed).filter(({ member }) => members.includes(member));
    const [worst] = members.length < 2 ? [] : sharingOf(placed, observed.hosts);
    return worst !== undefined && (worst.level === 'host' || groups.size > 1) ? [{ sentence: worst.sentence, next }] : [];
  });
  if (spec.mode !== 'cluster') return found;
  const seats = shards.flatMap(({ master, insync }) => {
    const at = [master, ...insync].flatMap((member) => (member === undefined ? [] : (hostOf(member, observed)?.spec.group ?? [])));
    return at.length === 0 ? [] : [at];
  });
  const [over] = faultsOf(seats, 0, groups.size);
  return over === undefined ? found : [{ sentence: over, next }];
}

function clusterAmiss(spec: CacheSpec, { cluster }: Observed): Amiss[] {
  if (spec.mode !== 'cluster' || cluster === undefined) return [];
  const state =
    cluster.state === 'healing' || cluster.state === 'down' ? [{ sentence: cluster.sentence, next: [`cache topology ${spec.name}`] }] : [];
  return cluster.lost === undefined ? state : [...state, { sentence: cluster.lost.sentence, next: [`cache events ${spec.name}`] }];
}

/** Members that have yet to get the last change. */
export function changing(spec: CacheSpec, observed: Observed): string[] {
  const resized = resizedPlacements(spec, observed).map(({ member }) => member);
  const late = memberIds(spec).filter((member) => isPending(spec, member, observed));
  return [...new Set([...resized, ...late])];
}

/** What is with a member that does not do what it should, in the words of whoever knows best. */
function stateOf(member: string, observed: Observed, now: Date): string {
  const placement = placementOf(member, observed);
  if (placement === undefined) return 'has no host yet';
  const loss = lossOf(placement, observed, now);
  if (loss.state === 'left') return 'was on a host that left the pool';
  const said = sidecarOf(member, observed);
  if (said?.state === 'failed') return `stays down: ${said.sentence}`;
  if (said !== undefined) return `${said.state === 'running' ? 'runs' : `is ${said.state.replace('_', ' ')}`}: ${said.sentence}`;
  if (loss.state !== 'fine' && loss.state !== 'back') return `is on ${loss.host.spec.name}, which does not answer`;
  const report = observed.reports.find((each) => each.id === member);
  if (report === undefined) return 'is being made';
  if (report.error !== undefined && report.error !== '') return `does not run: ${report.error}`;
  return report.state === 'running' ? 'is being started' : `is ${report.state}`;
}
