import { expect, it } from 'vitest';
import type { Master } from './master.ts';
import { followOldWorkers } from './old-workers.ts';

/** A master that counts how often it is asked, and answers when it is let. */
function masterOf(state: { oldWorkers: number[]; held?: Promise<void> }) {
  let asked = 0;
  const unused = async () => {
    throw new Error('not to be asked');
  };
  const master: Master = {
    async processes() {
      asked += 1;
      const { oldWorkers } = state;
      await state.held;
      return { worker: 8, oldWorkers, reloads: 0 };
    },
    async stat() {
      return [];
    },
    reload: unused,
    sessions: unused,
    shutdownSessions: unused,
  };
  return { master, asked: () => asked };
}

const all = () => true;

it('asks no more once there was none, until a worker may have been replaced', async () => {
  const { master, asked } = masterOf({ oldWorkers: [] });
  const workers = followOldWorkers(master);
  for (let i = 0; i < 5; i += 1) await workers.cut(all);
  expect(asked()).toBe(1);
  await workers.duringReload(async () => undefined);
  for (let i = 0; i < 5; i += 1) await workers.cut(all);
  expect(asked()).toBe(2);
  workers.forget();
  await workers.cut(all);
  expect(asked()).toBe(3);
});

it('asks each time while there is one', async () => {
  const { master, asked } = masterOf({ oldWorkers: [7] });
  const workers = followOldWorkers(master);
  for (let i = 0; i < 3; i += 1) await workers.cut(all);
  expect(asked()).toBe(3);
});

it('concludes nothing from what was seen before or while a worker was replaced', async () => {
  const state: { oldWorkers: number[]; held?: Promise<void> } = { oldWorkers: [] };
  const { master, asked } = masterOf(state);
  const workers = followOldWorkers(master);
  let answer = () => {};
  state.held = new Promise((resolve) => {
    answer = resolve;
  });
  const before = workers.cut(all);
  await workers.duringReload(async () => {
    state.held = Promise.resolve();
    await workers.cut(all);
  });
  answer();
  await before;
  state.oldWorkers = [7];
  await workers.cut(all);
  expect(asked()).toBe(3);
});

it('asks again after a reload that failed: what it left is not known', async () => {
  const { master, asked } = masterOf({ oldWorkers: [] });
  const workers = followOldWorkers(master);
  await workers.cut(all);
  const reload = workers.duringReload(async () => {
    throw new Error('broke off');
  });
  await expect(reload).rejects.toThrow('broke off');
  await workers.cut(all);
  expect(asked()).toBe(2);
});
