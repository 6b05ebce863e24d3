import { afterEach, describe, expect, it } from 'vitest';
import { sleep, waitFor } from '#core/sleep.ts';
import { type LeaderWatch, watchLeader } from './watch-leader.ts';

const target = { member: 'adb-1', address: '10.0.0.1', port: 3305, node: 'host-1' };
let watch: LeaderWatch | undefined;
afterEach(() => watch?.stop());
const until = (condition: () => boolean) => waitFor(async () => (condition() ? true : undefined), { timeoutMs: 2000, intervalMs: 2 });

function watching(answers: () => boolean, second: () => boolean | undefined) {
  const asked: string[] = [];
  let changes = 0;
  watch = watchLeader({
    probe: async () => answers(),
    secondView: async (node) => {
      asked.push(node);
      return second();
    },
    onChange: () => {
      changes += 1;
    },
    everyMs: 5,
    againMs: 5,
  });
  watch.aim(target);
  return { watch, asked, changes: () => changes };
}

describe('watchLeader', () => {
  it('who does not answer here and whose host is not there for another host is dead', async () => {
    const { watch, asked, changes } = watching(
      () => false,
      () => false,
    );
    expect(await until(() => watch.dead())).toBe(true);
    expect(watch.silent()).toBe(true);
    expect(asked).toContain('host-1');
    expect(changes()).toBeGreaterThanOrEqual(1);
  });

  it.each([
    ['is there for another host', true],
    ['cannot be looked at by another host', undefined],
  ])('who does not answer here but %s is silent, not dead', async (_what, second) => {
    const { watch } = watching(
      () => false,
      () => second,
    );
    expect(await until(() => watch.silent())).toBe(true);
    await sleep(60);
    expect(watch.dead()).toBe(false);
  });

  it('two failures are none, whatever another host says', async () => {
    let turn = 0;
    let died = false;
    const { watch } = watching(
      () => {
        died ||= watch?.dead() === true || watch?.silent() === true;
        return ++turn % 3 === 0;
      },
      () => false,
    );
    expect(await until(() => turn > 30)).toBe(true);
    expect(watch.silent() || watch.dead() || died).toBe(false);
  });

  it('who answers bothers nobody else', async () => {
    let turn = 0;
    const { asked } = watching(
      () => ++turn > 0,
      () => false,
    );
    expect(await until(() => turn > 9)).toBe(true);
    expect(asked).toEqual([]);
  });

  it('another host that takes its time is asked while we go on looking, and what it said of before does not count', async () => {
    let [up, asked, mostAtOnce, atOnce] = [false, 0, 0, 0];
    watch = watchLeader({
      probe: async () => up,
      async secondView() {
        asked += 1;
        atOnce += 1;
        mostAtOnce = Math.max(mostAtOnce, atOnce);
        await sleep(80);
        atOnce -= 1;
        return false;
      },
      onChange: () => undefined,
      everyMs: 20,
      againMs: 20,
    });
    watch.aim(target);
    expect(await until(() => watch!.silent())).toBe(true);
    // Both questions are under way; then it answers again.
    expect(asked).toBe(2);
    up = true;
    await sleep(150);
    expect(watch.dead()).toBe(false);
    up = false;
    expect(await until(() => watch!.dead())).toBe(true);
    expect(mostAtOnce).toBe(2);
  });

  it('who answers again lives', async () => {
    let up = false;
    const { watch } = watching(
      () => up,
      () => false,
    );
    expect(await until(() => watch.dead())).toBe(true);
    up = true;
    expect(await until(() => !watch.dead() && !watch.silent())).toBe(true);
  });

  it('who does not answer once is looked at more often until it does', async () => {
    let up = true;
    let turn = 0;
    watch = watchLeader({
      probe: async () => {
        turn += 1;
        return up;
      },
      secondView: async () => true,
      onChange: () => undefined,
      everyMs: 300,
      againMs: 5,
    });
    watch.aim(target);
    await sleep(100);
    expect(turn).toBeLessThanOrEqual(1);
    up = false;
    expect(await until(() => turn > 20)).toBe(true);
    up = true;
    await sleep(20);
    const before = turn;
    await sleep(100);
    expect(turn - before).toBeLessThanOrEqual(1);
  });

  it('another leader is looked at from the beginning', async () => {
    const { watch } = watching(
      () => false,
      () => false,
    );
    expect(await until(() => watch.dead())).toBe(true);
    watch.aim({ ...target, address: '10.0.0.9' });
    expect(watch.dead()).toBe(false);
    watch.aim(undefined);
    await sleep(40);
    expect(watch.dead() || watch.silent()).toBe(false);
  });
});
