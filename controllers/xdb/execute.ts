import { randomUUID } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { revokeMemberToken } from '#ground/acl.ts';
import { releasePlacement } from '#pool/placements.ts';
import { type ActingDeps, executePlaces, forgetHanded, handMember, hostNamed } from '#pool/service-execute.ts';
import { ensurePair, namesOf } from '#pool/service-tls.ts';
import { changeCredentials, withReplication } from '#xdb/credentials.ts';
import { keepBackups } from '#xdb/kept-backups.ts';
import { type ObserveDeps, secretFiles } from '#xdb/observe.ts';
import { STOP_SECONDS } from '#xdb/plan/member-spec.ts';
import { rollingId } from '#xdb/plan/rolling.ts';
import { isCompleteWithout } from '#xdb/plan/strays.ts';
import { isMoving, type Observed, type Step } from '#xdb/plan/world.ts';
import type { DbSpec, MoveOrder } from '#xdb/schema.ts';
import { fullMembers, memberIds, withMember, withoutMember } from '#xdb/spec.ts';
import { dbKeys } from '#xdb/store.ts';

export interface ExecuteDeps extends ObserveDeps, Pick<ActingDeps, 'ensureImage' | 'expectLead'> {}

type World = Omit<Observed, 'refused'>;

/** Does one step. @throws AppError; `no_host` when a member fits nowhere */
export async function execute(deps: ExecuteDeps, spec: DbSpec, observed: World, step: Step): Promise<void> {
  const { consul } = deps.store;
  const { name } = spec;
  if (await executePlaces(deps, 'db', spec, step)) return;
  switch (step.do) {
    case 'ensure':
      if (step.replaces) await expectNotLeading(deps, spec, step.member);
      return ensureMember(deps, spec, observed, step);
    case 'restart':
      await expectNotLeading(deps, spec, step.member);
      await deps.agent(hostNamed(observed, step.host)).memberAdmin(step.member, 'POST', '/restart-engine', {}, { timeoutMs: 60_000 });
      return;
    case 'switchover':
      return orderMove(deps, name, { v: 1, id: rollingId(deps.now()), kind: 'switchover', target: step.target, state: 'asked' });
    case 'grow': {
      // The password first: a member that exists can log in.
      const { id } = withMember(spec, 'member');
      await changeCredentials(deps, name, (present) => withReplication(present, [...memberIds(spec), id]));
      await deps.store.change(name, (present) => (memberIds(present).includes(id) ? present : withMember(present, 'member').spec));
      return;
    }
    case 'drop':
      await deps.store.change(name, (present) => withoutMember(present, step.member));
      return;
    case 'adopt':
      await deps.store.change(name, (present) =>
        fullMembers(present).includes(step.member)
          ? present
          : {
              ...withoutMember(present, step.member),
              members: [...withoutMember(present, step.member).members, { id: step.member, role: 'member', delaySeconds: 0 }],
            },
      );
      return;
    case 'remove':
      return removeMember(deps, spec, observed, step);
    case 'release':
      await forgetMember(deps, spec, step.member);
      await releasePlacement(consul, step.member, step.host);
      return;
    case 'forget':
      await keepBackups(deps, spec);
      await consul.kv.deleteTree(dbKeys(name).base);
      return;
  }
}

async function ensureMember(deps: ExecuteDeps, spec: DbSpec, observed: World, step: Step & { do: 'ensure' }): Promise<void> {
  const { store } = deps;
  const { member } = step;
  const host = hostNamed(observed, step.host);
  const keys = dbKeys(spec.name);
  await handMember(deps, {
    ...{ step, host, handedKey: keys.handed },
    async files() {
      const pair = await ensurePair(deps, { recordKey: keys.tls(member), member, names: namesOf(spec, member, host) });
      const credentials = await store.sealed.get(keys.credentials, { consistent: true });
      return secretFiles(deps, spec.name, credentials?.value, pair);
    },
  });
}

/** Read again at the last moment: the record may have changed since the plan was made. */
async function expectNotLeading({ store }: ExecuteDeps, spec: DbSpec, member: string): Promise<void> {
  if (fullMembers(spec).length <= 1) return;
  const sync = await store.syncs.get(dbKeys(spec.name).sync, { consistent: true });
  if (sync?.value.leader.id === member)
    throw new AppError('cas_lost', `${member} has begun to lead meanwhile`, { hint: 'it is looked at again' });
}

async function removeMember(deps: ExecuteDeps, spec: DbSpec, observed: World, step: Step & { do: 'remove' }): Promise<void> {
  const { member, host, forGood } = step;
  if (spec.destroyed === undefined) {
    const sync = (await deps.store.syncs.get(dbKeys(spec.name).sync, { consistent: true }))?.value;
    const safe = forGood
      ? isCompleteWithout(member, spec, { ...observed, sync })
      : sync !== undefined && sync.leader.id !== member && sync.sync?.id !== member;
    if (!safe) throw new AppError('cas_lost', `${member} is needed again`, { hint: 'it is looked at again' });
  }
  await deps.agent(hostNamed(observed, host)).deleteMember(member, { purge: forGood, stopSeconds: STOP_SECONDS });
  await revokeMemberToken(deps.store.consul, member);
  if (!forGood) return;
  await forgetMember(deps, spec, member);
  await releasePlacement(deps.store.consul, member, host);
}

/** What the records hold of a member that is gone for good. */
async function forgetMember(deps: ExecuteDeps, spec: DbSpec, member: string): Promise<void> {
  const keys = dbKeys(spec.name);
  await deps.store.consul.kv.delete(keys.tls(member));
  if (spec.destroyed !== undefined || memberIds(spec).includes(member)) return;
  await deps.store.consul.kv.delete(keys.data(member));
  await changeCredentials(deps, spec.name, (present) => withReplication(present, memberIds(spec)));
  await forgetHanded(deps.store.handed, keys.handed, member);
}

/** @throws AppError `conflict` while another order is carried out */
export async function orderMove({ store }: Pick<ExecuteDeps, 'store'>, name: string, order: MoveOrder): Promise<void> {
  await store.moves.update(dbKeys(name).move, (present) => {
    if (present !== undefined && isMoving(present) && present.id !== order.id) {
      const what = `${name} has a ${present.kind} ${present.at === undefined ? 'under way' : `ordered for ${present.at}`}`;
      throw new AppError('conflict', what, { hint: `wait for it, or call a later one off: db switchover ${name} --cancel` });
    }
    return order;
  });
}

export function newOrderId(): string {
  return randomUUID();
}
