import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { askMember } from '#pool/service-living.ts';
import { changeCredentials, readCredentials } from '#xdb/credentials.ts';
import type { DbRecords } from '#xdb/observe.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { endFollowing } from '#xdb/operations/follow.ts';
import { livingRecords } from '#xdb/operations/living.ts';
import { MAX_LAG_SECONDS } from '#xdb/operations/move.ts';
import type { DbSpec } from '#xdb/schema.ts';
import { UpstreamStanding } from '#xdb/upstream/standing.ts';

export interface CutoverRequest {
  /** The master is gone for good: what was received is all there is. */
  masterLost?: boolean | undefined;
}

export interface CutoverAnswer {
  name: string;
  sentence: string;
  /** Something that the operator has to see to. */
  warning?: string | undefined;
}

/** How long what the master has is waited for, in milliseconds, and between two looks. */
const REACH_MS = 30_000;
const LOOK_MS = 300;
/** A sidecar asks the master before it answers. */
const ASK_MS = 15_000;

/**
 * Ends the following of another database: everything that its master had when this was asked has been received, and is applied before the first write is taken. From then
 * on it is a pair like any other, and gets its second member by itself.
 *
 * @throws AppError `conflict` when it follows nobody, is not copied yet or lags, saying by how much; `unavailable` when the master does not answer, and nobody said that it
 * is gone. Then nothing was changed.
 */
export async function cutoverDb(deps: DbDeps, name: string, { masterLost = false }: CutoverRequest = {}): Promise<CutoverAnswer> {
  const records = await livingRecords(deps, name);
  const { value: spec } = records.spec;
  const { upstream } = spec;
  if (spec.role !== 'slave' || upstream === undefined) {
    throw new AppError('conflict', `${name} follows no other database: there is nothing to cut over`, { hint: `db status ${name}` });
  }
  const master = upstream.ours ?? `${upstream.host}:${upstream.port}`;
  const standing = await reach(deps, records, { master, masterLost });
  if (upstream.ours !== undefined) await takeUsers(deps, spec, upstream.ours);
  await deps.store.change(name, ({ upstream: _, ...present }) => ({ ...present, role: 'pair' }));
  await changeCredentials(deps, name, ({ upstream: _, ...present }) => present);
  await endFollowing(deps, spec);
  const goesOn = !masterLost && standing.answers && !standing.readOnly;
  const warning = goesOn ? `${master} still takes writes: what it takes from now on is not in ${name}` : undefined;
  const sentence = `${name} no longer follows ${master}${masterLost ? ', which is said to be lost,' : ''} and takes writes itself`;
  await deps.events.record({ object: `db/${name}`, kind: masterLost ? 'warning' : 'info', reason: 'cutover', sentence });
  if (warning !== undefined) await deps.events.record({ object: `db/${name}`, kind: 'warning', reason: 'cutover', sentence: warning });
  deps.markDirty(name);
  return { name, sentence, warning };
}

/** Waits until what the master has now has been received. */
async function reach(
  deps: DbDeps,
  records: DbRecords,
  { master, masterLost }: { master: string; masterLost: boolean },
): Promise<UpstreamStanding> {
  const { name } = records.spec.value;
  const hint = `db status ${name}`;
  const leader = records.sync?.state === 'open' ? records.sync.leader.id : undefined;
  const said = records.sidecars.find((status) => status.member === leader);
  if (leader === undefined || said === undefined) {
    const first = records.sidecars[0]?.sentence;
    throw new AppError('conflict', `the copy of ${master} is not complete${first === undefined ? '' : `: ${first}`}`, { hint });
  }
  const end = deps.now().getTime() + REACH_MS;
  for (;;) {
    const standing = UpstreamStanding.parse(
      await askMember(deps, records, leader, { method: 'GET', path: '/upstream', timeoutMs: ASK_MS }),
    );
    if (masterLost) {
      if (!standing.answers) return standing;
      throw new AppError('conflict', `${master} is not lost: it answers`, { hint: `db cutover ${name}, without --master-lost` });
    }
    if (!standing.answers) {
      throw new AppError('unavailable', `${master} does not answer, and may have what ${leader} lacks: ${standing.error}`, {
        hint: `bring it back; if it is gone for good, db cutover ${name} --master-lost takes what was received for all there is`,
      });
    }
    if (!standing.following) {
      throw new AppError('conflict', `${leader} does not follow ${master}: ${standing.broken ?? said.sentence}`, { hint });
    }
    if (standing.lagSeconds !== null && standing.lagSeconds > MAX_LAG_SECONDS) {
      throw new AppError('conflict', `${leader} is ${Math.round(standing.lagSeconds)} s behind ${master}`, {
        hint: `try again when it is at most ${MAX_LAG_SECONDS} s behind; ${hint}`,
      });
    }
    if (standing.reached) return standing;
    if (deps.now().getTime() >= end) {
      const by = standing.missing === null ? 'some' : String(standing.missing);
      throw new AppError('conflict', `${leader} still lacks ${by} transactions of ${master}`, {
        hint: `stop writing to ${master}, then try again`,
      });
    }
    await sleep(LOOK_MS);
  }
}

/** Users came with the data; their passwords may have been changed at the master since. */
async function takeUsers(deps: DbDeps, { name }: DbSpec, ours: string): Promise<void> {
  const theirs = await readCredentials(deps, ours).catch(() => undefined);
  if (theirs === undefined) return;
  await changeCredentials(deps, name, (present) => ({ ...present, users: theirs.users }));
}
