import { messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { type ShardPlace, shardPlace } from '#xcache/cluster/shard-place.ts';
import { accounts } from '#xcache/engine/accounts.ts';
import { liveSettings } from '#xcache/engine/files.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { CacheCredentials, CacheSpec } from '#xcache/schema.ts';
import type { SidecarPaths } from './config.ts';
import { keepPersistence } from './persistence.ts';

export interface WantedSettings {
  /** Of the engine's process: what was set in one is not set in the next. */
  run: string;
  spec: CacheSpec;
  credentials: CacheCredentials;
  address: string;
  /** False while the cache has no master yet: what it begins with is on this member's disk, and nowhere else. */
  born?: boolean;
}

/**
 * What may change while an engine runs, and is set in it without a restart: sizes, eviction, parameters, accounts and their passwords, certificates, what is kept on disk, its own
 * address.
 */
export interface SettingsKeeper {
  keep(session: EngineSession, wanted: WantedSettings): Promise<void>;
  /** What the engine that runs has by now. */
  inForce(): { run: string; serial: number | undefined; parameters: Readonly<Record<string, string>>; persistence: string } | undefined;
  /** Why the last attempt failed; empty when it did not. */
  complaint(): string;
}

export function keepSettings(paths: SidecarPaths, member: string, log: Logger): SettingsKeeper {
  const persistence = keepPersistence(paths.data);
  let applied = '';
  /** Of the process and the persistence that nothing is left to be done for. */
  let kept = '';
  let force: ReturnType<SettingsKeeper['inForce']>;
  let complaint = '';

  async function apply(
    session: EngineSession,
    { spec, credentials, address }: WantedSettings,
    place: ShardPlace | undefined,
  ): Promise<void> {
    const wanted = accounts(credentials, place);
    if ((await readIfThere(paths.engineAcl)) !== wanted) {
      await writeFileAtomic(paths.engineAcl, wanted);
      // Clients of accounts that are as they were stay connected.
      await session.call('ACL', 'LOAD');
      log.info('accounts were changed');
    }
    await session.call('CONFIG', 'SET', ...liveSettings({ spec, credentials, place, address }).flat());
    const { ca, certificate, privateKey } = paths.tls;
    // The same names: it reads the files anew.
    if (spec.tls) await session.call('CONFIG', 'SET', 'tls-cert-file', certificate, 'tls-key-file', privateKey, 'tls-ca-cert-file', ca);
  }

  async function keep(session: EngineSession, wanted: WantedSettings): Promise<void> {
    const { run, spec, credentials, address } = wanted;
    const { memoryBytes, policy, parameters } = spec;
    const place = shardPlace(spec, member);
    const certificate = spec.tls ? await readIfThere(paths.tls.certificate) : undefined;
    const what = JSON.stringify([run, memoryBytes, policy, spec.persistence, parameters, credentials, place, address, certificate]);
    if (what !== applied) {
      await apply(session, wanted, place);
      applied = what;
      force = { run, serial: credentials.serial, parameters, persistence: force?.run === run ? force.persistence : '' };
    }
    if (wanted.born === false || kept === `${run} ${spec.persistence}`) return;
    if (!(await persistence.step(session, run, spec.persistence))) return;
    kept = `${run} ${spec.persistence}`;
    force = { ...{ run, serial: credentials.serial, parameters }, persistence: spec.persistence };
    log.info({ persistence: spec.persistence }, 'what is kept on disk is as it is to be');
  }

  return {
    inForce: () => force,
    complaint: () => complaint,
    async keep(session, wanted) {
      try {
        await keep(session, wanted);
        complaint = '';
      } catch (error) {
        const text = messageOf(error);
        if (text !== complaint) log.warn({ err: text }, 'settings of the engine could not be changed');
        complaint = text;
      }
    },
  };
}
