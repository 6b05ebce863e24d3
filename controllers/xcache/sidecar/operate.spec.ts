import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import { beginsAppendOnly, diskForm } from './disk-form.ts';
import { keepPersistence } from './persistence.ts';
import { type KeyReport, keep, survey } from './reports.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const each of folders.splice(0)) await rm(each, { recursive: true, force: true });
});
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'xcache-'));
  folders.push(path);
  return path;
}

describe('what an engine begins with', () => {
  it.each([
    // What only the append-only file holds would be lost if it were not read, and the other way round.
    ['none', { appendOnly: false, snapshot: true }, false],
    ['rdb', { appendOnly: true, snapshot: true }, true],
    ['rdb', { appendOnly: false, snapshot: true }, false],
    ['aof', { appendOnly: false, snapshot: true }, false],
    ['aof', { appendOnly: false, snapshot: false }, true],
    ['aof', { appendOnly: true, snapshot: true }, true],
  ] as const)('%s with %j on disk', (wanted, disk, expected) => {
    expect(beginsAppendOnly(wanted, disk)).toBe(expected);
  });
});

/** An engine that answers INFO from `fields`, and is told things. */
function engine(fields: Record<string, string | number>, answer: (words: (string | number)[]) => unknown = () => 'OK') {
  const told: string[] = [];
  const session: EngineSession = {
    facts: () => Promise.reject(new Error('not asked')),
    close: () => undefined,
    async call(...words) {
      if (words[0] === 'INFO')
        return Object.entries(fields)
          .map(([key, value]) => `${key}:${value}`)
          .join('\r\n');
      told.push(words.join(' '));
      return answer(words);
    },
  };
  return { session, told };
}

describe('what is kept on disk', () => {
  it('is changed to snapshots only when one was made of everything', async () => {
    const data = await folder();
    await mkdir(join(data, 'appendonlydir'));
    await writeFile(join(data, 'appendonlydir/appendonly.aof.manifest'), '');
    const fields: Record<string, string | number> = {
      aof_enabled: 1,
      rdb_saves: 3,
      rdb_last_bgsave_status: 'ok',
      rdb_bgsave_in_progress: 0,
    };
    const { session, told } = engine(fields);
    const keeper = keepPersistence(data);
    expect(await keeper.step(session, 'r', 'rdb')).toBe(false);
    expect(told.at(-1)).toBe('BGSAVE');
    fields.rdb_bgsave_in_progress = 1;
    expect(await keeper.step(session, 'r', 'rdb')).toBe(false);
    // It failed: it is asked for again, and the file stays.
    Object.assign(fields, { rdb_bgsave_in_progress: 0, rdb_last_bgsave_status: 'err' });
    expect(await keeper.step(session, 'r', 'rdb')).toBe(false);
    expect(await keeper.step(session, 'r', 'rdb')).toBe(false);
    expect(told.filter((each) => each === 'BGSAVE')).toHaveLength(2);
    expect(told).not.toContain('CONFIG SET appendonly no');
    expect((await diskForm(data)).appendOnly).toBe(true);
    Object.assign(fields, { rdb_saves: 4, rdb_last_bgsave_status: 'ok' });
    expect(await keeper.step(session, 'r', 'rdb')).toBe(true);
    expect(told.at(-1)).toBe('CONFIG SET appendonly no');
    expect(await readdir(data)).toEqual([]);
  });

  it('is changed to an append-only file that is whole before the snapshot goes; a replica that is getting its copy is left alone', async () => {
    const data = await folder();
    await writeFile(join(data, 'dump.rdb'), 'x');
    const fields: Record<string, string | number> = { aof_enabled: 0, master_sync_in_progress: 1 };
    const { session, told } = engine(fields);
    const keeper = keepPersistence(data);
    expect(await keeper.step(session, 'r', 'none')).toBe(false);
    expect(told).toEqual([]);
    fields.master_sync_in_progress = 0;
    expect(await keeper.step(session, 'r', 'aof')).toBe(false);
    Object.assign(fields, { aof_enabled: 1, aof_rewrite_in_progress: 1 });
    expect(await keeper.step(session, 'r', 'aof')).toBe(false);
    expect((await diskForm(data)).snapshot).toBe(true);
    await mkdir(join(data, 'appendonlydir'));
    await writeFile(join(data, 'appendonlydir/appendonly.aof.manifest'), '');
    fields.aof_rewrite_in_progress = 0;
    expect(await keeper.step(session, 'r', 'aof')).toBe(true);
    expect(await readdir(data)).toEqual(['appendonlydir']);
  });
});

describe('reports of keys', () => {
  const one = (key: string, value: number, db = 0) => ({ db, key, type: '', value });

  it('keep the largest, each once', () => {
    const top: KeyReport['keys'] = [];
    for (const [key, value] of [
      ['a', 1],
      ['b', 5],
      ['c', 3],
      ['b', 5],
      ['d', 2],
      ['e', 9],
    ] as const)
      keep(top, one(key, value), 3);
    expect(top.map(({ key }) => key)).toEqual(['e', 'b', 'c']);
  });

  it('go on where one has ended whose time was over, and outlive keys that are gone', async () => {
    const pages: Record<string, [string, string[]]> = { '0': ['7', ['a', 'gone']], '7': ['0', ['b']] };
    const answer = ([command, ...words]: (string | number)[]) => {
      if (command === 'SCAN') return pages[String(words[0])];
      if (command === 'MEMORY' && words[1] === 'gone') throw new AppError('engine', 'no such key');
      if (command === 'MEMORY') return words[1] === 'b' ? 20 : 10;
      return command === 'TYPE' ? 'string' : 'OK';
    };
    const { session } = engine({ db0: 'keys=3,expires=0' }, answer);
    const options = { what: 'bytes', limit: 5, signal: new AbortController().signal } as const;
    const first = await survey(session, { ...options, budgetMs: -1 });
    expect(first).toMatchObject({
      complete: false,
      next: '0:7',
      scanned: 2,
      total: 3,
      keys: [
        { key: 'a', value: 10, type: 'string' },
        { key: 'gone', value: 0 },
      ],
    });
    const rest = await survey(session, { ...options, budgetMs: 1000, from: '0:7' });
    expect(rest).toMatchObject({ complete: false, next: null, keys: [{ key: 'b', value: 20 }] });
    expect(await survey(session, { ...options, budgetMs: 1000 })).toMatchObject({ complete: true, scanned: 3 });
    await expect(survey(session, { ...options, budgetMs: 1, from: '1; FLUSHALL' })).rejects.toThrow('no place to go on from');
  });

  it('of reads need an engine that counts them', async () => {
    const { session } = engine({}, () => ['maxmemory-policy', 'allkeys-lru']);
    const asked = survey(session, { what: 'reads', limit: 1, budgetMs: 1, signal: new AbortController().signal });
    await expect(asked).rejects.toMatchObject({ code: 'conflict', hint: expect.stringContaining('allkeys-lfu') });
  });
});
