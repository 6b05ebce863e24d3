import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { createStructure, MAX_RELOAD_GAP_MS, RELOAD_GAP_MS, type Structure } from './structure.ts';

let folder: string;
let structure: Structure;
/** A nginx that reads `current` when it is told to. */
let nginx: { generation: string; workers: number; reloads: number; refuses: Set<string>; running: boolean; wrong: string | undefined };

const rendered = (generation: string) => ({ generation, text: `# ${generation}\n` });

async function reads(): Promise<string> {
  const text = await readFile(join(folder, 'current/nginx.conf'), 'utf8');
  return text.slice(2).trim();
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'structure-'));
  nginx = { generation: 'builtin', workers: 1, reloads: 0, refuses: new Set(), running: true, wrong: undefined };
  await mkdir(join(folder, 'builtin'));
  await writeFile(join(folder, 'builtin/nginx.conf'), '# builtin\n');
  await symlink('builtin', join(folder, 'current'));
  structure = createStructure({
    folder,
    test: async () => nginx.wrong,
    async reload() {
      nginx.reloads += 1;
      const next = await reads();
      if (!nginx.refuses.has(next)) Object.assign(nginx, { generation: next, workers: 2 });
    },
    async generation() {
      if (!nginx.running) throw new AppError('unavailable', 'no nginx');
      return { generation: nginx.generation, workers: nginx.workers, pids: [1, 2], old: [], certs: 0 };
    },
    log: silentLogger(),
    verifyMs: 600,
  });
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a structure', () => {
  it('is swapped, reloaded, seen, and kept as the last good one', async () => {
    expect(await structure.apply(rendered('aa'), 2)).toBe('reloaded');
    expect(nginx.generation).toBe('aa');
    expect(await readlink(join(folder, 'last-good'))).toBe('gen-aa');
    expect(await structure.apply(rendered('aa'), 2)).toBe('unchanged');
    expect(nginx.reloads).toBe(1);
    await structure.apply(rendered('bb'), 2);
    expect((await readdir(folder)).filter((name) => name.startsWith('gen-'))).toEqual(['gen-bb']);
  });

  it('that nginx finds wrong changes nothing', async () => {
    await structure.apply(rendered('aa'), 2);
    nginx.wrong = 'unknown directive "pwned"';
    await expect(structure.apply(rendered('bb'), 2)).rejects.toMatchObject({
      code: 'config_rejected',
      message: expect.stringContaining('unknown directive'),
    });
    expect(await reads()).toBe('aa');
    expect(nginx.reloads).toBe(1);
    expect((await readdir(folder)).filter((name) => name.startsWith('draft'))).toEqual([]);
  });

  it('that does not come up is taken back', async () => {
    await structure.apply(rendered('aa'), 2);
    nginx.refuses.add('bb');
    await expect(structure.apply(rendered('bb'), 2)).rejects.toMatchObject({ code: 'engine' });
    expect(await reads()).toBe('aa');
    expect(await structure.current()).toBe('aa');
  });

  it('that does not come up at the very first goes back to what nginx was started with', async () => {
    nginx.refuses.add('aa');
    await expect(structure.apply(rendered('aa'), 2)).rejects.toMatchObject({ code: 'engine' });
    expect(await readlink(join(folder, 'current'))).toBe('builtin');
  });

  it('is laid ready for a nginx that does not run', async () => {
    nginx.running = false;
    expect(await structure.apply(rendered('aa'), 2)).toBe('staged');
    expect(await reads()).toBe('aa');
    expect(nginx.reloads).toBe(0);
  });

  it('is not live before all workers are there', async () => {
    await expect(structure.apply(rendered('aa'), 3)).rejects.toMatchObject({ code: 'engine' });
  });
});

describe('the pause between reloads', () => {
  it('is none at first and grows with the workers that still end connections', async () => {
    expect(structure.holdOffMs(50, 2)).toBe(0);
    await structure.apply(rendered('aa'), 2);
    const wait = (old: number) => Math.ceil(structure.holdOffMs(old, 2) / 1000) * 1000;
    expect(wait(0)).toBe(RELOAD_GAP_MS);
    expect(wait(2)).toBe(RELOAD_GAP_MS);
    expect(wait(8)).toBe(8 * RELOAD_GAP_MS);
    expect(wait(1000)).toBe(MAX_RELOAD_GAP_MS);
  });
});
