import { describe, expect, it, onTestFinished } from 'vitest';
import { AppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';
import type { EngineSession } from '#xdb/engine/engine.ts';
import { keepParameters } from './parameters.ts';

const log = createLogger({ name: 'test', level: 'silent' });

function setUp() {
  const applied: { instance: string; parameters: Readonly<Record<string, string>> }[] = [];
  let [instance, refuses, closed, told] = ['i1', 0, 0, 0];
  const engine = {
    async connect() {
      const mine = instance;
      return {
        instance: mine,
        async applyParameters(parameters: Readonly<Record<string, string>>) {
          if (refuses-- > 0) throw new AppError('engine', 'not now');
          applied.push({ instance: mine, parameters });
          return { pendingRestart: parameters.static === undefined ? [] : ['static'], changed: [] };
        },
        close: () => void closed++,
      } as unknown as EngineSession;
    },
  };
  const keeper = keepParameters({ engine, log, onChange: () => void told++, retryMs: 20 });
  onTestFinished(() => keeper.stop());
  return {
    ...{ keeper, applied },
    set: (parameters: Record<string, string>, of = 'i1') => keeper.set({ instance: of, parameters, memoryBytes: 1 }),
    runs(now: string) {
      instance = now;
    },
    refuse(times: number) {
      refuses = times;
    },
    closed: () => closed,
    told: () => told,
  };
}

describe('parameters of an engine', () => {
  it('are set once, again when they change, and again in another start of the engine', async () => {
    const { set, applied, runs, closed } = setUp();
    set({ a: '1' });
    await expect.poll(() => applied).toHaveLength(1);
    set({ a: '1' });
    set({ a: '2' });
    await expect.poll(() => applied).toHaveLength(2);
    runs('i2');
    set({ a: '2' }, 'i2');
    await expect.poll(() => applied.at(-1)).toEqual({ instance: 'i2', parameters: { a: '2' } });
    expect(applied).toHaveLength(3);
    await expect.poll(closed).toBe(3);
  });

  it('are tried again after a refusal, and never set in an engine that they are not meant for', async () => {
    const { set, applied, refuse, runs } = setUp();
    refuse(2);
    set({ a: '1' });
    await expect.poll(() => applied).toHaveLength(1);
    runs('i2');
    set({ a: '2' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(applied).toHaveLength(1);
  });

  it('that wait for a start are named for as long as this engine runs', async () => {
    const { keeper, set, told } = setUp();
    set({ static: '1' });
    await expect.poll(() => keeper.pendingRestart()).toEqual(['static']);
    expect(told()).toBe(1);
    set({ static: '1' }, 'i2');
    expect(keeper.pendingRestart()).toEqual([]);
    keeper.set(undefined);
    expect(keeper.pendingRestart()).toEqual([]);
  });
});
