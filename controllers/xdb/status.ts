import { backupAlarm, backupsSeen } from '#backup/events.ts';
import { lossOf } from '#pool/lost-host.ts';
import { sharingOf } from '#pool/placement-sharing.ts';
import { destroyedVerdict } from '#pool/service-destroyed.ts';
import { resizedPlacements } from '#pool/service-plan.ts';
import { hostOf, isPaused, placementOf, placementsOf, sidecarOf } from '#pool/service-world.ts';
import { archiveAlarm } from '#xdb/archive-alarm.ts';
import { wantedMembers } from '#xdb/plan/membership.ts';
import { pendingChange } from '#xdb/plan/rolling.ts';
import { follows, isMoving, livingSlave, type Observed, writableLeader } from '#xdb/plan/world.ts';
import type { DbSpec, DbStatus } from '#xdb/schema.ts';
import { fullMembers, memberIds } from '#xdb/spec.ts';

/** A word, a sentence and what to type next. */
type Verdict = Pick<DbStatus, 'status' | 'sentence' | 'next' | 'code'>;

/** How long the making of a database may take before what is missing counts as amiss: an image may have to be carried to a host, data be copied. */
export const MAKING_MS = 10 * 60_000;

/** What may pass by itself is no failure yet. */
const PASSING = new Set(['unavailable', 'timeout', 'cas_lost', 'engine', 'internal']);

/** Pure: the status of a database, from the records and what its sidecars say of themselves. */
export function statusOf(spec: DbSpec, observed: Observed, now: Date): DbStatus {
  const { sync, previous } = observed;
  const verdict = verdictOf(spec, observed, now);
  const isWhole =
    verdict.status === 'READY' || (writableLeader(observed) !== undefined && (spec.role !== 'pair' || livingSlave(observed) !== undefined));
  const firstReady = previous?.firstReady ?? (isWhole ? now.toISOString() : undefined);
  return {
    v: 1,
    ...verdict,
    specIndex: observed.specIndex,
    ...(spec.destroyed === undefined ? { changing: changing(spec, observed) } : {}),
    time: now.toISOString(),
    ...(firstReady === undefined ? {} : { firstReady }),
    ...(observed.backups.length === 0 ? {} : { backups: backupsSeen(observed.backups) }),
    ...(sync === undefined ? {} : { seen: { epoch: sync.epoch, leader: sync.leader.id, sync: sync.sync?.id ?? null } }),
  };
}

function verdictOf(spec: DbSpec, observed: Observed, now: Date): Verdict {
  if (spec.destroyed !== undefined) return destroyedVerdict('db', spec, observed);
  if (observed.sync === undefined) return unborn(spec, observed);
  const verdict = verdictBorn(spec, observed, now);
  const making = observed.previous?.firstReady === undefined && now.getTime() - Date.parse(spec.created ?? '') < MAKING_MS;
  if (making && (verdict.status === 'DOWN' || (verdict.status === 'DEGRADED' && livingSlave(observed) === undefined)))
    return { ...verdict, status: 'PENDING', next: [] };
  if (!isPaused(spec, now) || verdict.status === 'DOWN') return verdict;
  return {
    ...verdict,
    status: 'PAUSED',
    sentence: `failover and maintenance rest until ${spec.pausedUntil}; ${verdict.sentence}`,
    next: [`db resume ${spec.name}`],
  };
}

function verdictBorn(spec: DbSpec, observed: Observed, now: Date): Verdict {
  if (spec.role === 'slave' && spec.upstream !== undefined) return slaveOf(spec, spec.upstream, observed, now);
  return writableLeader(observed) === undefined ? notWritable(spec, observed, now) : writable(spec, observed, now);
}

/** Further behind than this, in seconds, a slave of another database is not as it should be. */
const FAR_BEHIND_SECONDS = 60;

/** `role=slave` before its cutover: does it follow? */
function slaveOf(spec: DbSpec, upstream: NonNullable<DbSpec['upstream']>, observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const leader = observed.sync?.leader.id ?? '';
  const master = upstream.ours ?? `${upstream.host}:${upstream.port}`;
  const said = sidecarOf(leader, observed);
  if (said === undefined)
    return { status: 'DOWN', sentence: `${leader} ${stateOf(leader, observed, now)}`, next: ['xcaas nodes', `db logs ${name}`] };
  const behind = said.lagSeconds === null ? '' : `, ${Math.round(said.lagSeconds)} s behind`;
  const follows = `${leader} on ${hostOf(leader, observed)?.spec.name ?? 'a host that left the pool'} follows ${master}${behind}`;
  const amiss = [
    ...(said.state === 'running' ? [] : [{ sentence: said.sentence, next: [`db topology ${name}`, `db logs ${name}`] }]),
    ...(said.state === 'running' && (said.lagSeconds ?? 0) > FAR_BEHIND_SECONDS
      ? [{ sentence: follows, next: [`db topology ${name}`] }]
      : []),
    ...beside(leader, observed),
    ...diskAlarms(spec, observed),
    ...(observed.refused === undefined ? [] : [{ sentence: observed.refused.message, next: [`db events ${name}`] }]),
  ];
  if (amiss.length > 0) {
    return {
      status: 'DEGRADED',
      sentence: amiss.map(({ sentence }) => sentence).join('; '),
      next: [...new Set(amiss.flatMap(({ next }) => next))].slice(0, 3),
    };
  }
  const late = changing(spec, observed);
  if (late.length > 0) return { status: 'PENDING', sentence: `${follows}; ${late.join(', ')} has yet to be changed`, next: [] };
  return { status: 'READY', sentence: follows, next: [`db cutover ${name}`] };
}

/** A slave on the very host of its master is lost with it. */
function beside(leader: string, observed: Observed): { sentence: string; next: string[] }[] {
  const { upstreamLeader } = observed;
  const mine = hostOf(leader, observed);
  if (upstreamLeader === undefined || mine === undefined || hostOf(upstreamLeader, observed)?.spec.id !== mine.spec.id) return [];
  return [
    { sentence: `${leader} and its master ${upstreamLeader} share host ${mine.spec.name}`, next: ['xcaas nodes', 'xcaas join-token'] },
  ];
}

function diskAlarms({ name }: DbSpec, observed: Observed): { sentence: string; next: string[] }[] {
  return observed.sidecars.flatMap(({ member, disk }) => {
    if (disk?.state !== 'warn' && disk?.state !== 'read_only') return [];
    const full = Math.floor((100 * disk.usedBytes) / Math.max(1, disk.totalBytes));
    return [{ sentence: `the disk of ${member} is ${full} % full`, next: [`db resize ${name} --disk SIZE`] }];
  });
}

function unborn(spec: DbSpec, observed: Observed): Verdict {
  const { name } = spec;
  const next = [`db logs ${name}`];
  if (observed.birth?.done === true) {
    const sentence = `U5: the record of who leads ${name} is gone from Consul, and nobody may guess it`;
    return { status: 'DOWN', sentence, next: [`db recover ${name}`] };
  }
  const { refused } = observed;
  if (refused !== undefined && !PASSING.has(refused.code))
    return { status: 'FAILED', sentence: refused.message, code: refused.code, next: ['xcaas nodes', `db destroy ${name} --purge`] };
  const failed = observed.sidecars.find((status) => status.state === 'failed' || status.state === 'stays_down');
  if (failed !== undefined) return { status: 'FAILED', sentence: `${failed.member}: ${failed.sentence}`, code: 'conflict', next };
  const broken = observed.reports.find((report) => report.error !== undefined && report.error !== '');
  if (broken !== undefined) return { status: 'DOWN', sentence: `${broken.id} does not run: ${broken.error}`, next };
  if (refused !== undefined) return { status: 'PENDING', sentence: refused.message, next: [] };
  const first = observed.birth?.member ?? '';
  const said = sidecarOf(first, observed)?.sentence;
  return { status: 'PENDING', sentence: said === undefined ? 'members are being started' : `${first}: ${said}`, next: [] };
}

/** A member takes writes: is all the rest as it should be? */
function writable(spec: DbSpec, observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const leader = observed.sync?.leader.id ?? '';
  const where = (member: string) => `${member} on ${hostOf(member, observed)?.spec.name ?? 'a host that left the pool'}`;
  const amiss: { sentence: string; next: string[] }[] = [];
  const slave = livingSlave(observed);
  if (spec.role === 'pair' && slave === undefined) {
    amiss.push({
      sentence: `nobody but ${leader} holds the newest writes: ${whyNoSlave(spec, observed, now)}`,
      next: [`db topology ${name}`],
    });
  }
  const shared = sharing(spec, observed);
  if (shared !== undefined) {
    const heir = fullMembers(spec).length > wantedMembers(spec) ? fullMembers(spec).at(-1) : undefined;
    const next = heir === undefined ? ['xcaas nodes', 'xcaas join-token'] : [`db topology ${name}`];
    amiss.push({
      sentence: heir === undefined ? shared : `${shared}, and ${heir} is made to mend it: it ${stateOf(heir, observed, now)}`,
      next,
    });
  }
  amiss.push(...diskAlarms(spec, observed));
  const replicas = spec.members.filter(({ id, role }) => role === 'replica' && !follows(id, observed));
  for (const { id } of replicas)
    amiss.push({ sentence: `the read replica ${id} does not follow: ${stateOf(id, observed, now)}`, next: [`db topology ${name}`] });
  const alarm = backupAlarm(observed.backups);
  const silent = archiveAlarm(observed.sidecars, now);
  for (const each of [alarm, silent]) if (each !== undefined) amiss.push({ sentence: each, next: [`db backup list ${name}`] });
  if (observed.refused !== undefined) amiss.push({ sentence: observed.refused.message, next: [`db events ${name}`] });
  const [first] = amiss;
  if (first !== undefined) {
    const code = observed.refused === undefined ? {} : { code: observed.refused.code };
    const sentence = `${leader} takes writes; ${amiss.map((each) => each.sentence).join('; ')}`;
    return { status: 'DEGRADED', sentence, ...code, next: [...new Set(amiss.flatMap((each) => each.next))].slice(0, 3) };
  }
  const late = changing(spec, observed);
  if (late.length > 0) return { status: 'PENDING', sentence: `${where(leader)} leads; ${late.join(', ')} has yet to be changed`, next: [] };
  const sentence =
    slave === undefined ? `${where(leader)} takes writes` : `${where(leader)} leads, ${where(slave)} holds everything it acknowledged`;
  return { status: 'READY', sentence, next: [] };
}

/** Members that have yet to get the last change. */
export function changing(spec: DbSpec, observed: Observed): string[] {
  const resized = resizedPlacements(spec, observed);
  const late = memberIds(spec).filter((member) => pendingChange(spec, member, observed) !== undefined);
  return [...new Set([...resized.map(({ member }) => member), ...late])].filter((member) => memberIds(spec).includes(member));
}

function whyNoSlave(spec: DbSpec, observed: Observed, now: Date): string {
  const leader = observed.sync?.leader.id;
  const others = fullMembers(spec).filter((member) => member !== leader);
  if (others.length === 0) return 'it has no other member yet';
  return others.map((member) => `${member} ${stateOf(member, observed, now)}`).join('; ');
}

/** What is with a member that does not do what it should, in the words of whoever knows best. */
function stateOf(member: string, observed: Observed, now: Date): string {
  const placement = placementOf(member, observed);
  if (placement === undefined) return 'has no host yet';
  const loss = lossOf(placement, observed, now);
  if (loss.state === 'left') return 'was on a host that left the pool';
  const said = sidecarOf(member, observed);
  if (said !== undefined && (said.state === 'failed' || said.state === 'stays_down')) return `stays down: ${said.sentence}`;
  if (said?.state === 'cloning') return `is being copied from ${observed.sync?.leader.id}: ${said.sentence}`;
  if (said !== undefined)
    return `${said.state === 'running' ? 'follows, and is not in sync yet' : `is ${said.state.replace('_', ' ')}`}: ${said.sentence}`;
  if (loss.state !== 'fine' && loss.state !== 'back') return `is on ${loss.host.spec.name}, which does not answer`;
  const report = observed.reports.find((each) => each.id === member);
  if (report === undefined) return observed.data[member] === undefined ? 'is being made' : 'has not been heard of';
  if (report.error !== undefined && report.error !== '') return `does not run: ${report.error}`;
  return report.state === 'running' ? 'is being started' : `is ${report.state}`;
}

function sharing(spec: DbSpec, observed: Observed): string | undefined {
  const full = fullMembers(spec);
  if (spec.role !== 'pair' || full.length < 2) return undefined;
  const [worst] = sharingOf(
    placementsOf(spec, observed).filter(({ member }) => full.includes(member)),
    observed.hosts,
  );
  if (worst === undefined || worst.level === 'host') return worst?.sentence;
  // Where the pool has one group only, hosts are as far apart as can be.
  const groups = new Set(observed.hosts.map((host) => host.spec.group));
  return groups.size > 1 ? worst.sentence : undefined;
}

/** Nobody takes writes: for a moment, or which case of the protocol's it is (docs/xdb-protocol.md). */
function notWritable(spec: DbSpec, observed: Observed, now: Date): Verdict {
  const { name } = spec;
  const { sync, move } = observed;
  const down = (sentence: string, next: string[]): Verdict => ({ status: 'DOWN', sentence, next });
  if (sync === undefined) return unborn(spec, observed);
  const leader = sync.leader.id;
  const said = sidecarOf(leader, observed);
  const lost = observed.sidecars.find((status) => status.rule === 'K1');
  if (lost !== undefined) return down(`U5: ${lost.member}: ${lost.sentence}`, [`db recover ${name}`, `db logs ${name}`]);
  if (said?.role === 'master' && said.disk?.state === 'read_only' && sync.state === 'open') {
    const sentence = `${leader} takes no writes: its disk is full`;
    return { status: 'DEGRADED', sentence, next: [`db resize ${name} --disk SIZE`] };
  }
  if (isMoving(move) && move.state === 'blocked') {
    return { status: 'DEGRADED', sentence: `writes are held while ${move.target ?? 'the slave'} takes over from ${leader}`, next: [] };
  }
  if (isDataGone(leader, sync.leader.gen, observed)) {
    const other = sync.sync !== null && !isDataGone(sync.sync.id, sync.sync.gen, observed) ? sync.sync.id : undefined;
    if (other === undefined) {
      const which = sync.state === 'promoting' ? 'U2' : 'U1';
      return down(`${which}: the data of ${leader} are gone, and nobody else holds everything`, [
        `db restore NEW --from ${name}`,
        `db logs ${name}`,
      ]);
    }
  }
  if (sync.state === 'promoting') {
    const alarm = said !== undefined && /U7/.test(said.sentence) ? 'U7: ' : '';
    return down(`${alarm}${leader} takes over (epoch ${sync.epoch}): ${said?.sentence ?? stateOf(leader, observed, now)}`, [
      `db topology ${name}`,
    ]);
  }
  const heir = sync.sync?.id;
  if (said?.state === 'stays_down' || said?.state === 'failed') return down(`${leader} stays down: ${said.sentence}`, [`db logs ${name}`]);
  if (said === undefined && heir !== undefined) {
    const heirs = sidecarOf(heir, observed);
    const takes = isPaused(spec, now)
      ? `failover is paused, ${heir} could take over`
      : `${heir} is to take over: ${heirs?.sentence ?? stateOf(heir, observed, now)}`;
    const refuses = heirs?.rule === 'K2' ? [`db recover ${name} --lost ${leader}`] : [];
    const next = isPaused(spec, now) ? [`db failover ${name}`, `db resume ${name}`] : [...refuses, `db topology ${name}`];
    return down(`${leader} ${stateOf(leader, observed, now)}; ${takes}`, next);
  }
  if (said === undefined) {
    return down(`U6: ${leader} ${stateOf(leader, observed, now)}, and nobody else holds everything: it is waited for`, [
      'xcaas nodes',
      `db logs ${name}`,
    ]);
  }
  const consul = /^U4/.test(said.sentence) ? 'U4: ' : '';
  return down(`${consul}${leader} does not take writes yet: ${said.sentence.replace(/^U4:? */, '')}`, [`db logs ${name}`]);
}

/** Its own sidecar says that it has other data than the record means. */
function isDataGone(member: string, gen: string, observed: Observed): boolean {
  const data = observed.data[member];
  return data !== undefined && data.gen !== gen;
}
