import type { ConsulClient } from '#core/consul/client.ts';
import type { Records } from '#core/consul/records.ts';
import { AppError, hasCode } from '#core/errors.ts';
import { mintMemberToken } from '#ground/acl.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import type { Placement } from '#pool/placement-record.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';
import { markLost, reservePlacements, resizePlacement } from '#pool/placements.ts';
import { hashOf } from '#pool/service-credentials.ts';
import type { ServiceStep } from '#pool/service-plan.ts';
import type { HandedRecord } from '#pool/service-schema.ts';
import { memberToPlace, type PlacedSpec } from '#pool/service-spec.ts';
import type { SeenService } from '#pool/service-world.ts';

/** Parts of steps that the controllers of all services with data do alike. */

export interface ActingDeps extends HandDeps {
  /** @throws AppError `fenced` when this replica leads no longer */
  expectLead(): void;
}

/**
 * Does a step that only has to do with places. @returns false for another one
 *
 * @throws AppError `no_host` when a member fits nowhere; `fenced`
 */
export async function executePlaces(
  deps: Pick<ActingDeps, 'expectLead'> & PlaceDeps,
  kind: Placement['kind'],
  spec: PlacedSpec,
  step: { do: string },
): Promise<boolean> {
  // Agents refuse a leader of yesterday by its fence; records cannot, and what it saw before it was frozen is no longer so.
  deps.expectLead();
  const known = step as ServiceStep;
  switch (known.do) {
    case 'place':
      await placeInTiers(
        deps,
        kind,
        known,
        known.members.map((id) => memberToPlace(spec, id)),
      );
      return true;
    case 'lost':
      await markLost(deps.store.consul, known.member, known.since);
      return true;
    case 'reserve': {
      const { member, cpus, memoryBytes, diskBytes } = known;
      await resizePlacement(deps.store.consul, member, { cpus, memoryBytes, diskBytes });
      return true;
    }
    default:
      return false;
  }
}

interface PlaceDeps {
  store: { consul: ConsulClient };
  now(): Date;
}

/** Tries one set of hosts after the other. @throws AppError `no_host` of the last of them */
async function placeInTiers(
  { store, now }: PlaceDeps,
  kind: Placement['kind'],
  { tiers }: Pick<ServiceStep & { do: 'place' }, 'tiers'>,
  members: readonly MemberToPlace[],
): Promise<void> {
  for (const [index, tier] of tiers.entries()) {
    const only = { says: tier.says, hosts: new Set(tier.hosts) };
    // A tier of all hosts is no demand, and not to be named in a refusal.
    const filters = tier.says === 'of the pool' ? [] : [only];
    try {
      await reservePlacements(store.consul, { kind, members: members.map((member) => ({ ...member, filters })), now });
      return;
    } catch (error) {
      if (!hasCode(error, 'no_host') || index === tiers.length - 1) throw error;
    }
  }
}

export interface HandDeps {
  store: { consul: ConsulClient; handed: Pick<Records<HandedRecord>, 'update'> };
  agent(host: Host): AgentClient;
  /** Makes sure that a host has the image, carrying it from another one where needed. */
  ensureImage(host: Host, image: string): Promise<void>;
}

/** Makes, starts or replaces a member, and hands it its secrets. @param files made once the image is there */
export async function handMember(
  { store, agent, ensureImage }: HandDeps,
  {
    step,
    host,
    handedKey,
    files,
  }: { step: ServiceStep & { do: 'ensure' }; host: Host; handedKey: string; files(): Promise<Record<string, string>> },
): Promise<void> {
  await ensureImage(host, step.spec.image);
  // The session may be held, and ended, at any node: a member that finds its master dead ends the session that the master left behind.
  const token = await mintMemberToken(store.consul, step.member, step.spec.consul);
  const secrets = await files();
  await agent(host).putMember({ spec: step.spec, secrets: { consul_token: token, ...secrets } });
  await store.handed.update(handedKey, (present) => ({
    v: 1,
    members: { ...present?.members, [step.member]: { host: step.host, hash: hashOf(secrets) } },
  }));
}

/** Which secrets a member was given is forgotten with it. */
export async function forgetHanded(handed: Pick<Records<HandedRecord>, 'update'>, key: string, member: string): Promise<void> {
  await handed.update(key, (present) => {
    if (present?.members[member] === undefined) return undefined;
    const { [member]: _, ...members } = present.members;
    return { v: 1, members };
  });
}

export function hostNamed(observed: Pick<SeenService, 'hosts'>, id: string): Host {
  const host = observed.hosts.find((candidate) => candidate.spec.id === id);
  if (host === undefined) throw new AppError('internal', `the host ${id} left the pool in the middle of a step`);
  return host;
}

/** What a step says of itself in events. */
export function sentenceOf(step: ServiceStep): string {
  const what = {
    lost: 'has its host looked at',
    reserve: 'has other resources reserved',
    drop: 'is no member any more',
    adopt: 'is a member again',
    remove: 'is removed',
    release: 'gives its place back',
  };
  switch (step.do) {
    case 'place':
      return `${step.members.join(' and ')} ${step.members.length === 1 ? 'is' : 'are'} placed: ${step.reason}`;
    case 'switchover':
      return `${step.target} is to lead: ${step.reason}`;
    case 'grow':
    case 'forget':
      return step.reason;
    case 'ensure':
      return `${step.member} ${step.replaces ? 'is replaced' : 'is made or started'}: ${step.reason}`;
    default:
      return `${step.member} ${what[step.do]}: ${step.reason}`;
  }
}
