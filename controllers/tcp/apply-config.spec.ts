import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { lastGoodPath, type SwapOptions, swapConfig } from '#tcp/apply-config.ts';
import type { Master, ReloadAnswer } from '#tcp/master.ts';
import type { Runtime } from '#tcp/runtime.ts';

/** Swapping the file when the world goes wrong; the straight ways are tried on a real HAProxy. */
describe('a new structure', () => {
  let dir: string;
  let configPath: string;
  let running: string;
  let reloads: string[];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tcp-swap-'));
    configPath = join(dir, 'haproxy.cfg');
    await writeFile(configPath, 'old');
    running = 'old';
    reloads = [];
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  function swap({ reload, processes }: { reload?: () => Promise<ReloadAnswer>; processes?: Master['processes'] }, ok = true) {
    const runtime = { ask: async () => `description: xcaas-${running}`, execute: async () => [] } satisfies Runtime;
    const master: Partial<Master> = {
      processes: processes ?? (async () => ({ worker: 1, oldWorkers: [], reloads: 0 })),
      async reload() {
        reloads.push(await readFile(configPath, 'utf8'));
        return reload === undefined ? { ok: true, output: '' } : await reload();
      },
    };
    const options: SwapOptions = {
      configPath,
      text: 'new',
      generation: 'new',
      runtime,
      master: master as Master,
      check: async () => ({ ok, output: '[ALERT]    (1) : config : no such thing\n' }),
      log: silentLogger(),
    };
    return swapConfig(options);
  }
  const file = () => readFile(configPath, 'utf8');

  it('is believed when it answers, even if the master did not', async () => {
    const outcome = swap({
      async reload() {
        running = 'new';
        throw new AppError('timeout', 'no answer');
      },
    });
    expect(await outcome).toBe('reloaded');
    expect(await file()).toBe('new');
    expect(await readFile(lastGoodPath(configPath), 'utf8')).toBe('old');
  });

  it('is taken back, and the old one loaded again, when the master says it runs but nobody answers with it', async () => {
    await expect(swap({})).rejects.toMatchObject({ code: 'config_rejected' });
    expect(await file()).toBe('old');
    expect(reloads).toEqual(['new', 'old']);
  }, 20_000);

  it('never takes the place of the old one when the check refuses it', async () => {
    await expect(swap({}, false)).rejects.toThrow(/no such thing/);
    expect(await file()).toBe('old');
    expect(reloads).toEqual([]);
  });

  it('is taken back when the master refuses it; the old worker serves on, so nothing is loaded', async () => {
    const reload = async () => ({ ok: false, output: '[ALERT]    (1) : cannot bind socket (Address already in use) for [*:80]' });
    await expect(swap({ reload })).rejects.toMatchObject({ code: 'port_taken' });
    expect(await file()).toBe('old');
    expect(reloads).toEqual(['new']);
  });

  it('waits in its place when no HAProxy runs, and changes nothing when that is not known', async () => {
    const failing = (code: 'unavailable' | 'timeout') => ({ processes: () => Promise.reject(new AppError(code, 'no')) });
    await expect(swap(failing('timeout'))).rejects.toMatchObject({ code: 'timeout' });
    expect(await file()).toBe('old');
    expect(await swap(failing('unavailable'))).toBe('staged');
    expect(await file()).toBe('new');
  });
});
