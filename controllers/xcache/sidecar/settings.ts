import { messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { engineFiles } from '#xcache/engine/files.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import { backlogBytes, dataBytes } from '#xcache/memory.ts';
import type { CacheCredentials, CacheSpec } from '#xcache/schema.ts';
import { type SidecarPaths, XCACHE_PORTS } from './config.ts';

export interface WantedSettings {
  /** Of the engine's process: what was set in one is not set in the next. */
  run: string;
  spec: CacheSpec;
  credentials: CacheCredentials;
  address: string;
}

/** What may change while an engine runs, and is set in it without a restart: sizes, eviction, accounts and their passwords, its own address. */
export interface SettingsKeeper {
  keep(session: EngineSession, wanted: WantedSettings): Promise<void>;
}

export function keepSettings(paths: SidecarPaths, log: Logger): SettingsKeeper {
  let applied = '';
  let complaint = '';

  async function apply(session: EngineSession, { spec, credentials, address }: WantedSettings): Promise<void> {
    const files = engineFiles({
      ...{ spec, credentials, address, port: XCACHE_PORTS.engine },
      paths: { data: paths.data, acl: paths.engineAcl, socket: paths.engineSocket },
    });
    if ((await readIfThere(paths.engineAcl)) !== files.acl) {
      await writeFileAtomic(paths.engineAcl, files.acl);
      // Clients of accounts that are as they were stay connected.
      await session.call('ACL', 'LOAD');
      log.info('accounts were changed');
    }
    await session.call(
      ...([
        'CONFIG',
        'SET',
        'maxmemory',
        dataBytes(spec),
        'maxmemory-policy',
        spec.policy,
        'repl-backlog-size',
        backlogBytes(spec),
      ] as const),
      ...['masterauth', credentials.replication, 'replica-announce-ip', address],
    );
  }

  return {
    async keep(session, wanted) {
      const { run, spec, credentials, address } = wanted;
      const what = JSON.stringify([run, spec.memoryBytes, spec.policy, spec.persistence, credentials, address]);
      if (what === applied) return;
      try {
        await apply(session, wanted);
        applied = what;
        complaint = '';
      } catch (error) {
        const text = messageOf(error);
        if (text !== complaint) log.warn({ err: text }, 'settings of the engine could not be changed');
        complaint = text;
      }
    },
  };
}
