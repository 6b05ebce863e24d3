import { AppError } from '#core/errors.ts';
import { revokeMemberToken } from '#ground/acl.ts';
import { releasePlacement } from '#pool/placements.ts';
import { type ActingDeps, executePlaces, forgetHanded, handMember, hostNamed } from '#pool/service-execute.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import { ensurePair, namesOf } from '#pool/service-tls.ts';
import { type ObserveDeps, secretFiles } from '#xcache/observe.ts';
import { STOP_SECONDS } from '#xcache/plan/member-spec.ts';
import { rollingId } from '#xcache/plan/rolling.ts';
import { isNeedless } from '#xcache/plan/strays.ts';
import { isMoving, memberIds, type Observed } from '#xcache/plan/world.ts';
import type { CacheSpec, MoveOrder } from '#xcache/schema.ts';
import { withMember, withoutMember } from '#xcache/spec.ts';
import { cacheKeys } from '#xcache/store.ts';

export interface ExecuteDeps extends ObserveDeps, Pick<ActingDeps, 'ensureImage' | 'expectLead'> {}

type World = Omit<Observed, 'refused'>;

/** Does one step. @throws AppError; `no_host` when a member fits nowhere */
export async function execute(deps: ExecuteDeps, spec: CacheSpec, observed: World, step: ServiceStep): Promise<void> {
  const { consul } = deps.store;
  const { name } = spec;
  if (await executePlaces(deps, 'cache', spec, step)) return;
  switch (step.do) {
    case 'ensure':
      if (step.replaces) await expectNotLeading(deps, spec, step.member);
      return ensureMember(deps, spec, observed, step);
    case 'switchover':
      return orderMove(deps, name, { v: 1, id: rollingId(deps.now()), target: step.target, state: 'asked' });
    case 'grow':
      await deps.store.change(name, (present) => (present.lastMember > spec.lastMember ? present : withMember(present, step.shard).spec));
      return;
    case 'drop':
      await expectNotLeading(deps, spec, step.member, true);
      await deps.store.change(name, (present) => withoutMember(present, step.member));
      return;
    case 'adopt':
      await deps.store.change(name, (present) =>
        memberIds(present).includes(step.member) ? present : { ...present, members: [...present.members, { id: step.member, shard: 0 }] },
      );
      return;
    case 'remove':
      return removeMember(deps, spec, observed, step);
    case 'release':
      await forgetMember(deps, spec, step.member);
      await releasePlacement(consul, step.member, step.host);
      return;
    case 'forget':
      await consul.kv.deleteTree(cacheKeys(name).base);
      return;
  }
}

async function ensureMember(deps: ExecuteDeps, spec: CacheSpec, observed: World, step: ServiceStep & { do: 'ensure' }): Promise<void> {
  const { store } = deps;
  const keys = cacheKeys(spec.name);
  const host = hostNamed(observed, step.host);
  const { member } = step;
  await handMember(deps, {
    ...{ step, host, handedKey: keys.handed },
    async files() {
      const pair = await ensurePair(deps, { recordKey: keys.tls(member), member, names: namesOf(spec, member, host) });
      const credentials = await store.sealed.get(keys.credentials, { consistent: true });
      return secretFiles(deps, spec.name, credentials?.value, pair);
    },
  });
}

/** Read again at the last moment: the record may have changed since the plan was made. A master of a cluster hands over by itself when it ends; it is not dropped. */
async function expectNotLeading({ store }: ExecuteDeps, spec: CacheSpec, member: string, isDropped = false): Promise<void> {
  const cluster = isDropped ? await store.clusters.get(cacheKeys(spec.name).cluster, { consistent: true }) : undefined;
  if ((cluster?.value.slots[member] ?? 0) > 0) throw new AppError('cas_lost', `${member} serves slots`, { hint: 'it is looked at again' });
  if (spec.mode === 'cluster' || spec.members.length <= 1) return;
  const lead = await store.leads.get(cacheKeys(spec.name).lead, { consistent: true });
  if (lead?.value.master.id === member || lead?.value.target?.id === member)
    throw new AppError('cas_lost', `${member} has begun to lead meanwhile`, { hint: 'it is looked at again' });
}

async function removeMember(deps: ExecuteDeps, spec: CacheSpec, observed: World, step: ServiceStep & { do: 'remove' }): Promise<void> {
  const { member, host, forGood } = step;
  if (spec.destroyed === undefined) {
    const lead = (await deps.store.leads.get(cacheKeys(spec.name).lead, { consistent: true }))?.value;
    if (!isNeedless(member, spec, { ...observed, lead }))
      throw new AppError('cas_lost', `${member} is needed again`, { hint: 'it is looked at again' });
  }
  await deps.agent(hostNamed(observed, host)).deleteMember(member, { purge: forGood, stopSeconds: STOP_SECONDS });
  await revokeMemberToken(deps.store.consul, member);
  if (!forGood) return;
  await forgetMember(deps, spec, member);
  await releasePlacement(deps.store.consul, member, host);
}

/** What the records hold of a member that is gone for good. */
async function forgetMember({ store }: ExecuteDeps, spec: CacheSpec, member: string): Promise<void> {
  const keys = cacheKeys(spec.name);
  await store.consul.kv.delete(keys.tls(member));
  if (spec.destroyed === undefined) await forgetHanded(store.handed, keys.handed, member);
}

/** @throws AppError `conflict` while another order is carried out */
export async function orderMove({ store }: Pick<ExecuteDeps, 'store'>, name: string, order: MoveOrder): Promise<void> {
  await store.moves.update(cacheKeys(name).move, (present) => {
    if (isMoving(present) && present.id !== order.id)
      throw new AppError('conflict', `${name} has a switchover under way`, { hint: `wait for it: cache status ${name}` });
    return order;
  });
}
