import { randomUUID } from 'node:crypto';
import { AppError, hasCode } from '#core/errors.ts';
import { mintMemberToken, revokeMemberToken } from '#ground/acl.ts';
import type { Host } from '#pool/host.ts';
import { markLost, releasePlacement, reservePlacements, resizePlacement } from '#pool/placements.ts';
import { hashOf } from '#pool/service-credentials.ts';
import { ensurePair, namesOf } from '#pool/service-tls.ts';
import { changeCredentials, withReplication } from '#xdb/credentials.ts';
import { keepBackups } from '#xdb/kept-backups.ts';
import { type ObserveDeps, secretFiles } from '#xdb/observe.ts';
import { STOP_SECONDS } from '#xdb/plan/member-spec.ts';
import { rollingId } from '#xdb/plan/rolling.ts';
import { isCompleteWithout } from '#xdb/plan/strays.ts';
import { isMoving, type Observed, type Step } from '#xdb/plan/world.ts';
import type { DbSpec, MoveOrder } from '#xdb/schema.ts';
import { fullMembers, memberIds, memberToPlace, withMember, withoutMember } from '#xdb/spec.ts';
import { dbKeys } from '#xdb/store.ts';

export interface ExecuteDeps extends ObserveDeps {
  /** Makes sure that a host has the image, carrying it from another one where needed. */
  ensureImage(host: Host, image: string): Promise<void>;
  /** @throws AppError `fenced` when this replica leads no longer */
  expectLead(): void;
}

type World = Omit<Observed, 'refused'>;

/** Does one step. @throws AppError; `no_host` when a member fits nowhere */
export async function execute(deps: ExecuteDeps, spec: DbSpec, observed: World, step: Step): Promise<void> {
  const { consul } = deps.store;
  const { name } = spec;
  // Agents refuse a leader of yesterday by its fence; records cannot, and what it saw before it was frozen is no longer so.
  deps.expectLead();
  switch (step.do) {
    case 'place':
      return placeIn(deps, spec, step);
    case 'lost':
      return markLost(consul, step.member, step.since);
    case 'reserve': {
      const { member, cpus, memoryBytes, diskBytes } = step;
      await resizePlacement(consul, member, { cpus, memoryBytes, diskBytes });
      return;
    }
    case 'ensure':
      if (step.replaces) await expectNotLeading(deps, spec, step.member);
      return ensureMember(deps, spec, observed, step);
    case 'restart':
      await expectNotLeading(deps, spec, step.member);
      await deps.agent(hostOf(observed, step.host)).memberAdmin(step.member, 'POST', '/restart-engine', {}, { timeoutMs: 60_000 });
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

/** Tries one set of hosts after the other. */
async function placeIn({ store, now }: ExecuteDeps, spec: DbSpec, { members, tiers }: Step & { do: 'place' }): Promise<void> {
  for (const [index, tier] of tiers.entries()) {
    const only = { says: tier.says, hosts: new Set(tier.hosts) };
    // A tier of all hosts is no demand, and not to be named in a refusal.
    const filters = tier.says === 'of the pool' ? [] : [only];
    try {
      await reservePlacements(store.consul, { kind: 'db', members: members.map((id) => ({ ...memberToPlace(spec, id), filters })), now });
      return;
    } catch (error) {
      if (!hasCode(error, 'no_host') || index === tiers.length - 1) throw error;
    }
  }
}

async function ensureMember(deps: ExecuteDeps, spec: DbSpec, observed: World, step: Step & { do: 'ensure' }): Promise<void> {
  const { store } = deps;
  const host = hostOf(observed, step.host);
  const keys = dbKeys(spec.name);
  await deps.ensureImage(host, step.spec.image);
  // The session may be held, and ended, at any node: a slave that finds its master dead ends the session that the master left behind.
  const token = await mintMemberToken(store.consul, step.member, step.spec.consul);
  const pair = await ensurePair(deps, { recordKey: keys.tls(step.member), member: step.member, names: namesOf(spec, step.member, host) });
  const credentials = await store.sealed.get(keys.credentials, { consistent: true });
  const files = secretFiles(deps, spec.name, credentials?.value, pair);
  await deps.agent(host).putMember({ spec: step.spec, secrets: { consul_token: token, ...files } });
  await store.handed.update(keys.handed, (present) => ({
    v: 1,
    members: { ...present?.members, [step.member]: { host: step.host, hash: hashOf(files) } },
  }));
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
  await deps.agent(hostOf(observed, host)).deleteMember(member, { purge: forGood, stopSeconds: STOP_SECONDS });
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
  await deps.store.handed.update(keys.handed, (present) => {
    if (present?.members[member] === undefined) return undefined;
    const { [member]: _, ...members } = present.members;
    return { v: 1, members };
  });
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

function hostOf(observed: Pick<Observed, 'hosts'>, id: string): Host {
  const host = observed.hosts.find((candidate) => candidate.spec.id === id);
  if (host === undefined) throw new AppError('internal', `the host ${id} left the pool in the middle of a step`);
  return host;
}
