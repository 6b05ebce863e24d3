import { SAVES } from '#xcache/engine/files.ts';
import { infoFields } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { CacheSpec } from '#xcache/schema.ts';
import { diskForm, removeForm } from './disk-form.ts';

/**
 * Brings a running engine to what is to be kept on disk, without a restart and without a moment in which less is kept than before: the new form is complete before the old one is
 * removed. Each call does one step.
 */
export interface PersistenceKeeper {
  /** @returns true when nothing is left to be done */
  step(session: EngineSession, run: string, wanted: CacheSpec['persistence']): Promise<boolean>;
}

/** @param data the engine's folder */
export function keepPersistence(data: string): PersistenceKeeper {
  /** A snapshot was asked for in this run of the engine, which had made so many by then. */
  let asked: { run: string; saves: number } | undefined;

  async function toAppendOnly(session: EngineSession, now: Persistence): Promise<boolean> {
    if (!now.appendOnly) {
      await session.call('CONFIG', 'SET', 'save', '', 'appendonly', 'yes');
      return false;
    }
    await session.call('CONFIG', 'SET', 'save', '');
    if (now.rewriting || !(await diskForm(data)).appendOnly) return false;
    await removeForm(data, 'snapshot');
    return true;
  }

  async function toSnapshots(session: EngineSession, run: string, now: Persistence): Promise<boolean> {
    await session.call('CONFIG', 'SET', 'save', SAVES);
    if (now.appendOnly) {
      if (asked?.run !== run) {
        if (now.saving || now.rewriting) return false;
        await session.call('BGSAVE');
        asked = { run, saves: now.saves };
        return false;
      }
      if (now.saving) return false;
      if (now.saves <= asked.saves || !now.saved) {
        asked = undefined;
        return false;
      }
      await session.call('CONFIG', 'SET', 'appendonly', 'no');
    }
    asked = undefined;
    await removeForm(data, 'appendOnly');
    return true;
  }

  return {
    async step(session, run, wanted) {
      const now = await look(session);
      // What a replica is getting is on its way through the same file.
      if (now.busy) return false;
      if (wanted === 'aof') return toAppendOnly(session, now);
      if (wanted === 'rdb') return toSnapshots(session, run, now);
      await session.call('CONFIG', 'SET', 'save', '', 'appendonly', 'no');
      await removeForm(data, 'snapshot');
      await removeForm(data, 'appendOnly');
      return true;
    },
  };
}

interface Persistence {
  appendOnly: boolean;
  rewriting: boolean;
  saving: boolean;
  /** The last snapshot was made. */
  saved: boolean;
  saves: number;
  busy: boolean;
}

async function look(session: EngineSession): Promise<Persistence> {
  const fields = infoFields(String(await session.call('INFO', 'persistence', 'replication')));
  const is = (name: string) => fields.get(name) === '1';
  return {
    appendOnly: is('aof_enabled'),
    rewriting: is('aof_rewrite_in_progress') || is('aof_rewrite_scheduled'),
    saving: is('rdb_bgsave_in_progress'),
    saved: fields.get('rdb_last_bgsave_status') === 'ok',
    saves: Number(fields.get('rdb_saves') ?? 0),
    busy: is('loading') || is('master_sync_in_progress'),
  };
}
