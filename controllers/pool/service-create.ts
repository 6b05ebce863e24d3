import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { applyChanges, type PoolConsul } from '#pool/guard.ts';
import type { Host } from '#pool/host.ts';
import { place } from '#pool/placement.ts';
import { listPlacements } from '#pool/placement-record.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';

/** What is found wrong with a new service before anything of it is written. */
export interface CreateDeps {
  store: { consul: PoolConsul };
  log: Logger;
  hosts(): Promise<Host[]>;
  agent(host: Host): Pick<AgentClient, 'volumes'>;
}

/** @throws AppError `no_host` naming the demand that leaves none */
export async function refuseNoRoom(deps: Pick<CreateDeps, 'store' | 'hosts'>, members: readonly MemberToPlace[]): Promise<void> {
  const [hosts, existing] = await Promise.all([deps.hosts(), listPlacements(deps.store.consul)]);
  const result = place({ members, hosts, existing });
  if (!result.ok) throw result.refusal;
}

/**
 * A member is never put where another service of that name left its data; those on hosts that do not answer, the sidecars refuse.
 *
 * @throws AppError `conflict`
 */
export async function refuseLeftData(deps: CreateDeps, service: string): Promise<void> {
  const living = (await deps.hosts()).filter((host) => host.alive);
  const pattern = new RegExp(`^${service}-\\d+$`);
  const found = await Promise.all(
    living.map(async (host) => {
      try {
        const volumes = await deps.agent(host).volumes();
        return volumes
          .filter(({ member, volumes: filled }) => pattern.test(member) && filled.length > 0)
          .map(({ member }) => ({ member, host }));
      } catch (error) {
        deps.log.warn({ host: host.spec.name, err: messageOf(error) }, 'an agent does not say which data lie on its host');
        return [];
      }
    }),
  );
  const [first] = found.flat();
  if (first === undefined) return;
  const where = `/var/lib/xcaas/volumes/${first.member}`;
  throw new AppError('conflict', `${first.host.spec.name} holds data of an earlier ${first.member}, which would be in the way`, {
    hint: `choose another name, or, if nobody needs them, remove ${where} on ${first.host.spec.name}`,
  });
}

/** All records of a new service at once, or none: members without credentials, or without the right to make its data, would be stuck. @returns false when it is there already */
export function writeNew(consul: PoolConsul, records: Readonly<Record<string, unknown>>): Promise<boolean> {
  return applyChanges(
    consul,
    Object.entries(records).map(([key, value]) => ({ verb: 'cas', key, value: JSON.stringify(value), index: 0 })),
  );
}
