import { describe, expect, it } from 'vitest';
import { DbSpec } from '#xdb/schema.ts';
import type { Moment, Tools } from './context.ts';
import { catchUp } from './replication.ts';

const DATA = 'xcaas/db/adb/data/adb-2';
const spec = DbSpec.parse({
  ...{ v: 1, name: 'adb', role: 'pair', flavor: 'mariadb', cpus: 0, memoryBytes: 2 ** 29, diskBytes: 2 ** 30, network: 'n' },
  ...{ database: 'adb', user: 'adb', members: ['adb-1', 'adb-2'].map((id) => ({ id, role: 'member' })) },
});

/** @param meanwhile what becomes of the record between the turn's look and the withdrawal of "ready" */
async function run({ written = true, meanwhile = {} }: { written?: boolean; meanwhile?: Record<string, unknown> }) {
  const done: string[] = [];
  const sync = {
    ...{ v: 1, leader: { id: 'adb-1', gen: 'g1' }, sync: null, cand: null, prev: null, state: 'open', epoch: 3, rev: 8, nonce: 'n' },
    ...meanwhile,
  };
  const row = (Key: string, value: unknown) => ({
    ...{ Key, ModifyIndex: 9, CreateIndex: 1, LockIndex: 0, Flags: 0 },
    Value: Buffer.from(JSON.stringify(value)).toString('base64'),
  });
  const request = async (method: string, path: string, options: { raw?: string; query?: Record<string, unknown> }) => {
    if (method === 'PUT') {
      done.push(`${path.slice(path.indexOf('xcaas'))} at ${options.query?.cas}: ready ${JSON.parse(options.raw!).ready}`);
      return { status: 200, headers: {}, body: written, text: '' };
    }
    done.push(`read${options.query?.consistent ? ' consistently' : ''}`);
    return { status: 200, headers: {}, body: [row('xcaas/db/adb/spec', spec), row('xcaas/db/adb/sync', sync)], text: '' };
  };
  const session = { instance: 'i', setRelaySync: async (on: boolean) => void done.push(`sync each event: ${on}`) };
  const tools = {
    config: { db: 'adb', member: 'adb-2' },
    consul: { request },
    disk: { now: () => ({ gen: 'g2' }) },
    link: { session: () => session },
  };
  const step = { rule: 'J3', do: 'catch_up', at: 7, reason: '' } as const;
  const outcome = await catchUp(step, tools as unknown as Tools, { instance: 'i' } as unknown as Moment);
  return { outcome: outcome.is, done };
}

describe('catch_up', () => {
  const withdrawal = `${DATA} at 7: ready null`;

  it('first takes back that it is ready, then looks whether anybody counts on it, then receives without syncing', async () => {
    expect(await run({})).toEqual({ outcome: 'done', done: [withdrawal, 'read consistently', 'sync each event: false'] });
  });

  it('does nothing when somebody wrote its data record meanwhile', async () => {
    expect(await run({ written: false })).toEqual({ outcome: 'failed', done: [withdrawal] });
  });

  it('syncs on when it was named before "ready" was gone', async () => {
    const me = { id: 'adb-2', gen: 'g2' };
    for (const meanwhile of [{ sync: me }, { cand: me }, { leader: me }])
      expect(await run({ meanwhile })).toEqual({ outcome: 'failed', done: [withdrawal, 'read consistently'] });
  });
});
