import { expect, test } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { MemberSpec } from '#pool/member.ts';
import { createKeeper } from './keeper.ts';
import type { StoredMember } from './store.ts';

function kept(id: string): StoredMember {
  const spec = MemberSpec.parse({ id, kind: 'db', service: 'x', image: `sha256:${'a'.repeat(64)}`, network: 'xcaas' });
  return { v: 1, spec, stopped: false };
}

test('one that cannot start does not keep the others from it, and is tried again with growing pauses', async () => {
  let time = 0;
  let reachable = false;
  const tries: Record<string, number> = {};
  const keeper = createKeeper({
    store: { list: async () => ({ members: [kept('a-1'), kept('b-1')], damaged: ['c.json'] }) },
    members: {
      async revive(id) {
        tries[id] = (tries[id] ?? 0) + 1;
        if (id === 'a-1' && !reachable) throw new AppError('unavailable', 'no Swarm manager');
        return tries[id] === 1 || id === 'a-1' ? 'started' : undefined;
      },
    },
    log: silentLogger(),
    intervalMs: 5,
    now: () => time,
  });
  keeper.start();
  await waitFor(async () => ((tries['b-1'] ?? 0) > 3 ? true : undefined), { timeoutMs: 5000, intervalMs: 2 });
  expect(tries['a-1']).toBe(1);
  expect(keeper.last()?.sentence).toBe('2 members belong here; a-1 does not start: no Swarm manager; not understood: c.json');
  time += 1000;
  await waitFor(async () => (tries['a-1']! > 1 ? true : undefined), { timeoutMs: 5000, intervalMs: 2 });
  reachable = true;
  time += 60_000;
  expect(
    await waitFor(async () => (keeper.last()?.sentence.includes('a-1 started') ? true : undefined), { timeoutMs: 5000, intervalMs: 1 }),
  ).toBe(true);
  await keeper.stop();
});
