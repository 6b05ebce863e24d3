import type { ContainerInspectInfo } from 'dockerode';
import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { HostPaths } from '#core/paths.ts';
import type { DeleteMemberAnswer, PutMemberAnswer } from '#pool/agent-api.ts';
import { MEMBER_LABELS, type MemberReport, type MemberSpec, specHash } from '#pool/member.ts';
import { engineError } from '../engine-errors.ts';
import { createKeyedMutex } from '../mutex.ts';
import { expectPortsFree } from '../ports.ts';
import { containerOptions } from './container-options.ts';
import { createFolders } from './folders.ts';
import { ownerOf } from './owner.ts';
import { isMember, reportMember } from './report.ts';
import type { Owner, SecretStore } from './secrets.ts';
import type { MemberStore } from './store.ts';

export interface MembersOptions {
  docker: Docker;
  paths: HostPaths;
  hostId: string;
  store: MemberStore;
  secrets: SecretStore;
  /** Hard limit of open files of the host's engine. */
  openFilesLimit: number;
  log: Logger;
}

export interface Members {
  list(): Promise<MemberReport[]>;
  /**
   * Makes the member be as specified: creates, starts or replaces its container. Data is kept.
   *
   * @param proceed asked once it is this call's turn; throws to call it off (the fence)
   * @throws AppError `conflict` when a container that is not ours has the name, `port_taken`, `not_found` (image, network), `engine`, …
   */
  ensure(spec: MemberSpec, secrets: Record<string, string>, proceed?: () => void): Promise<PutMemberAnswer>;
  remove(id: string, options: { purge: boolean; proceed?: () => void }): Promise<DeleteMemberAnswer>;
  /** Starts what is kept on disk and does not run. @returns what was done, or undefined when there was nothing to do */
  revive(id: string): Promise<'created' | 'started' | undefined>;
  /** A stop through the system: the member stays stopped until the next {@link ensure}. */
  markStopped(id: string): Promise<void>;
}

/** The containers of this host's members. Everything done to one member is done one after another. */
export function createMembers({ docker, paths, hostId, store, secrets, openFilesLimit, log }: MembersOptions): Members {
  const mutex = createKeyedMutex();
  const context = { paths, hostId, openFilesLimit };
  const folders = createFolders({ paths, store });

  async function inspect(nameOrId: string): Promise<ContainerInspectInfo | undefined> {
    try {
      return await docker.getContainer(nameOrId).inspect();
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw engineError(error, `looking at the container ${nameOrId}`);
    }
  }

  async function ours(id: string): Promise<ContainerInspectInfo | undefined> {
    const found = await inspect(id);
    // The engine also finds containers by the beginning of their id; `web-1` cannot be one, `abc1` can.
    if (found === undefined || found.Name !== `/${id}`) return undefined;
    if (isMember(found.Config.Labels, id, hostId)) return found;
    throw new AppError('conflict', `a container ${id} (${found.Id.slice(0, 12)}) is there on this host and is not a member of this pool`, {
      hint: `rename or remove it (docker rename ${id} …), or choose another name for the service`,
    });
  }

  async function create(spec: MemberSpec, name: string): Promise<{ id: string; owner: Owner }> {
    await folders.prepare(spec);
    const what = `creating the member ${spec.id}`;
    const image = await imageOf(spec.image);
    let id: string | undefined;
    try {
      id = (await docker.createContainer({ ...containerOptions(spec, context), name })).id;
      return { id, owner: await ownerOf(docker, id, image) };
    } catch (error) {
      if (id !== undefined) await discard(id);
      throw engineError(error, what);
    }
  }

  async function imageOf(id: string): Promise<{ user: string; labels: Record<string, string> }> {
    try {
      const { Config } = await docker.getImage(id).inspect();
      return { user: Config?.User ?? '', labels: Config?.Labels ?? {} };
    } catch (error) {
      if (!isNotFound(error)) throw engineError(error, `looking at the image ${id}`);
      throw new AppError('not_found', `this host does not have the image ${id}`, {
        hint: 'control lets the agent fetch it first (POST /v1/images/fetch)',
      });
    }
  }

  async function start(id: string, spec: MemberSpec): Promise<void> {
    try {
      await docker.getContainer(id).start();
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode === 304) return;
      const failure = engineError(error, `starting the member ${spec.id}`);
      if (failure.code === 'port_taken') await expectPortsFree(docker, spec.publish, [spec.id]);
      throw failure;
    }
  }

  async function discard(id: string): Promise<void> {
    await docker
      .getContainer(id)
      .remove({ force: true, v: true })
      .catch((error: unknown) => {
        if (!isNotFound(error))
          log.warn({ container: id, err: engineError(error, 'removing').message }, 'a container of ours could not be removed');
      });
  }

  async function remember(spec: MemberSpec, values: Record<string, string>): Promise<void> {
    const sealed = await secrets.unseal(spec.id).catch(() => undefined);
    if (JSON.stringify(sealed) !== JSON.stringify(values)) await secrets.seal(spec.id, values);
    const before = await store.get(spec.id);
    if (before === undefined || before.stopped || specHash(before.spec) !== specHash(spec)) await store.put({ spec, stopped: false });
  }

  async function createFresh(spec: MemberSpec, values: Record<string, string>): Promise<void> {
    const isNew = (await store.get(spec.id)) === undefined;
    await expectPortsFree(docker, spec.publish);
    let id: string | undefined;
    try {
      const created = await create(spec, spec.id);
      id = created.id;
      await folders.handOver(spec, values, created.owner);
      // Kept before it runs: after a crash in between, the agent finishes by itself.
      await remember(spec, values);
      await start(id, spec);
    } catch (error) {
      if (id !== undefined) await discard(id);
      // Refused here, it may be placed elsewhere: it must not come to life on this host later.
      if (isNew) await forget(spec);
      throw error;
    }
  }

  async function forget(spec: MemberSpec): Promise<void> {
    await store.remove(spec.id);
    await secrets.forget(spec.id);
    await folders.removeEmpty(spec);
  }

  /** The next container is created beside the old one first: what the engine would refuse is refused while the old one still runs. */
  async function replace(old: ContainerInspectInfo, spec: MemberSpec, values: Record<string, string>): Promise<void> {
    const temporary = `${spec.id}.next`;
    const leftover = await inspect(temporary);
    if (leftover !== undefined && isMember(leftover.Config.Labels, spec.id, hostId)) await discard(leftover.Id);
    await expectPortsFree(docker, spec.publish, [spec.id]);
    const { id, owner } = await create(spec, temporary);
    try {
      await stop(old.Id);
      await folders.handOver(spec, values, owner);
      await remember(spec, values);
      await docker.getContainer(old.Id).remove({ force: true, v: true });
    } catch (error) {
      await discard(id);
      throw engineError(error, `replacing the member ${spec.id}`);
    }
    await docker.getContainer(id).rename({ name: spec.id });
    await start(id, spec);
  }

  async function stop(id: string): Promise<void> {
    try {
      // Without a time the engine takes the container's own.
      await docker.getContainer(id).stop();
    } catch (error) {
      if (isNotFound(error) || (error as { statusCode?: number }).statusCode === 304) return;
      throw engineError(error, `stopping the container ${id.slice(0, 12)}`);
    }
  }

  async function report(id: string): Promise<MemberReport> {
    const inspected = await inspect(id);
    if (inspected === undefined) throw new AppError('engine', `the container of ${id} is gone right after it was seen to`);
    return reportMember(inspected);
  }

  async function ownerFor(container: ContainerInspectInfo): Promise<Owner> {
    return ownerOf(docker, container.Id, { user: container.Config.User ?? '', labels: container.Config.Labels ?? {} });
  }

  return {
    async list() {
      try {
        const filters = { label: [`${MEMBER_LABELS.host}=${hostId}`, MEMBER_LABELS.member] };
        const found = await docker.listContainers({ all: true, filters });
        const inspected = await Promise.all(found.map(({ Id }) => inspect(Id)));
        return inspected
          .filter((one) => one !== undefined && one.Name === `/${one.Config.Labels[MEMBER_LABELS.member]}`)
          .map((one) => reportMember(one!))
          .sort((a, b) => (a.id < b.id ? -1 : 1));
      } catch (error) {
        throw engineError(error, 'listing the members');
      }
    },

    ensure(spec, values, proceed = () => undefined) {
      return mutex.run(spec.id, async () => {
        proceed();
        const present = await ours(spec.id);
        let change: PutMemberAnswer['change'];
        if (present === undefined) {
          await createFresh(spec, values);
          change = 'created';
        } else if (present.Config.Labels[MEMBER_LABELS.hash] !== specHash(spec)) {
          await replace(present, spec, values);
          change = 'replaced';
        } else {
          await folders.prepare(spec);
          const rewritten = await folders.handOver(spec, values, await ownerFor(present));
          await remember(spec, values);
          const idle = isIdle(present);
          if (idle) await start(present.Id, spec);
          change = idle ? 'started' : rewritten ? 'secrets' : 'none';
        }
        if (change !== 'none') log.info({ member: spec.id, change }, 'a member was seen to');
        return { member: await report(spec.id), change };
      });
    },

    remove(id, { purge, proceed = () => undefined }) {
      return mutex.run(id, async () => {
        proceed();
        const present = await ours(id);
        // Forgotten first: after a crash in between it must not be started again.
        await store.remove(id);
        await secrets.forget(id);
        if (present !== undefined) {
          await stop(present.Id);
          try {
            await docker.getContainer(present.Id).remove({ force: true, v: true });
          } catch (error) {
            if (!isNotFound(error)) throw engineError(error, `removing the member ${id}`);
          }
        }
        const purged = await folders.remove(id, { purge });
        log.info({ member: id, removed: present !== undefined, purged }, 'a member was removed');
        return { removed: present !== undefined, purged };
      });
    },

    revive(id) {
      return mutex.run(id, async () => {
        const kept = await store.get(id);
        if (kept === undefined || kept.stopped) return undefined;
        const present = await ours(id);
        const values = (await secrets.unseal(id)) ?? {};
        if (present === undefined) {
          await createFresh(kept.spec, values);
          return 'created';
        }
        if (!isIdle(present)) return undefined;
        await folders.prepare(kept.spec);
        await folders.handOver(kept.spec, values, await ownerFor(present));
        await start(present.Id, kept.spec);
        return 'started';
      });
    },

    markStopped(id) {
      return mutex.run(id, async () => {
        const kept = await store.get(id);
        if (kept !== undefined && !kept.stopped) await store.put({ spec: kept.spec, stopped: true });
      });
    },
  };
}

function isIdle(container: ContainerInspectInfo): boolean {
  return container.State.Status === 'created' || container.State.Status === 'exited' || container.State.Status === 'dead';
}
