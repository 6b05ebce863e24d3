import { AppError } from '#core/errors.ts';
import { refuseNoRoom } from '#pool/service-create.ts';
import { expectMember } from '#pool/service-living.ts';
import { memberToPlace } from '#pool/service-spec.ts';
import { changeCredentials, withReplication } from '#xdb/credentials.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingSpec } from '#xdb/operations/living.ts';
import { memberIds, withMember, withoutMember } from '#xdb/spec.ts';

/** Each of them fetches the whole binlog from the master. */
const MOST = 8;
/** A day: what is further back is restored from a backup. */
export const MAX_DELAY_SECONDS = 86_400;

/**
 * One more copy for reading: it follows the master, never acknowledges and never leads. One that is delayed keeps behind on purpose, so that what was dropped by mistake is
 * there for a while; clients that ask for a slave are not led to it.
 *
 * @throws AppError `invalid`; `conflict` for a slave of another database; `no_host` naming what is missing. Then nothing is changed
 */
export async function addReplica(deps: DbDeps, name: string, delaySeconds: number): Promise<{ member: string; sentence: string }> {
  const { value: present } = await livingSpec(deps, name);
  if (!Number.isInteger(delaySeconds) || delaySeconds < 0 || delaySeconds > MAX_DELAY_SECONDS) {
    throw new AppError('invalid', `a delay of ${delaySeconds} s cannot be`, { hint: `give between 0 and ${MAX_DELAY_SECONDS} seconds` });
  }
  if (present.role === 'slave') {
    throw new AppError('conflict', `${name} is itself a slave, of ${present.upstream?.ours ?? present.upstream?.host}`, {
      hint: `db cutover ${name} first`,
    });
  }
  const replicas = present.members.filter(({ role }) => role === 'replica');
  if (replicas.length >= MOST) {
    throw new AppError('conflict', `${name} has ${replicas.length} read replicas, and no more can be`, {
      hint: `db replica remove ${name} MEMBER`,
    });
  }
  const { id } = withMember(present, 'replica', delaySeconds);
  await refuseNoRoom(deps, [memberToPlace(present, id)]);
  // The password first: a member that exists can log in.
  await changeCredentials(deps, name, (credentials) => withReplication(credentials, [...memberIds(present), id]));
  await deps.store.change(name, (spec) => {
    if (memberIds(spec).includes(id)) throw new AppError('cas_lost', `${name} got another member meanwhile`, { hint: 'try again' });
    return withMember(spec, 'replica', delaySeconds).spec;
  });
  const sentence = `${id} is to be a read replica of ${name}${delaySeconds === 0 ? '' : `, ${delaySeconds} s behind`}`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'replica_added', sentence });
  deps.markDirty(name);
  return { member: id, sentence };
}

/** @throws AppError `not_found`; `conflict` for a member that is none, or when it is not said which of several */
export async function removeReplica(deps: DbDeps, name: string, member: string | undefined): Promise<{ member: string; sentence: string }> {
  const { value: present } = await livingSpec(deps, name);
  const replicas = present.members.filter(({ role }) => role === 'replica').map(({ id }) => id);
  if (member !== undefined) expectMember(present, member);
  const [only, ...more] = replicas;
  const asked = member ?? (more.length === 0 ? only : undefined);
  if (asked === undefined || !replicas.includes(asked)) {
    const message =
      member !== undefined
        ? `${member} is no read replica`
        : replicas.length === 0
          ? `${name} has no read replica`
          : `${name} has several read replicas: it must be said which`;
    throw new AppError('conflict', message, {
      hint: replicas.length === 0 ? `db replica add ${name} makes one` : `it has ${replicas.join(', ')}`,
    });
  }
  await deps.store.change(name, (spec) => withoutMember(spec, asked));
  const sentence = `${asked} is no read replica of ${name} any more; its data go`;
  await deps.events.record({ object: `db/${name}`, kind: 'info', reason: 'replica_removed', sentence });
  deps.markDirty(name);
  return { member: asked, sentence };
}
