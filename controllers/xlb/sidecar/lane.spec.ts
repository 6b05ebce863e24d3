import { describe, expect, it, vi } from 'vitest';
import { AppError } from '#core/errors.ts';
import { TargetGroup } from '#xlb/schema.ts';
import { createLane, createVersions, type Sink } from './lane.ts';
import { buildTable } from './table.ts';

const group = TargetGroup.parse({ name: 'g' });
const table = (weight: number) => {
  const peer = { id: 'a', address: '10.0.0.1', port: 80, weight, state: 'up' as const, container: '', node: '' };
  return buildTable(group, [[{ ...peer, silent: false, unweighted: false }]]);
};

/** An engine that refuses what is not newer, as nginx does. */
function engine(held = 0) {
  const puts: { weight: number; version: number }[] = [];
  const state = { held, fail: 0, gate: Promise.resolve() };
  const sink: Sink = {
    name: 'nginx',
    async put(content, version) {
      await state.gate;
      if (state.fail > 0) {
        state.fail -= 1;
        throw new AppError('unavailable', 'nobody there');
      }
      if (version <= state.held) return 'stale';
      state.held = version;
      puts.push({ weight: content.peers[0]?.weight ?? 0, version });
      return 'live';
    },
    highestVersion: async () => state.held,
  };
  return { sink, puts, state };
}

function lane(sink: Sink, start = 0, live?: { version: number; hash: string }) {
  const onLive = vi.fn();
  return { onLive, lane: createLane({ sink, versions: createVersions(start), live, onLive, onChange: () => undefined }) };
}
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('a lane', () => {
  it('pushes nothing that is live already', async () => {
    const { sink, puts } = engine(7);
    const { content, hash } = table(1);
    const made = lane(sink, 7, { version: 7, hash });
    made.lane.offer(content, hash);
    await settle();
    expect(puts).toEqual([]);
    expect(made.lane.live()).toEqual({ version: 7, hash });
  });

  it('skips what was overtaken while a push was on its way, and ends with the newest', async () => {
    const { sink, puts, state } = engine();
    let open: () => void = () => undefined;
    state.gate = new Promise((resolve) => {
      open = resolve;
    });
    const made = lane(sink);
    for (const weight of [1, 2, 3, 4, 5]) made.lane.offer(table(weight).content, table(weight).hash);
    open();
    await settle();
    expect(puts.map((put) => put.weight)).toEqual([1, 5]);
    expect(made.lane.live()?.hash).toBe(table(5).hash);
  });

  it('climbs over a version that the engine holds from another life', async () => {
    const { sink, puts } = engine(1000);
    const made = lane(sink, 3);
    made.lane.offer(table(1).content, table(1).hash);
    await settle();
    expect(puts).toEqual([{ weight: 1, version: 1001 }]);
  });

  it('tries again after a failure, and says it meanwhile', async () => {
    const { sink, puts, state } = engine();
    state.fail = 1;
    const made = lane(sink);
    made.lane.offer(table(1).content, table(1).hash);
    await settle();
    expect(made.lane.error()?.message).toBe('nobody there');
    await vi.waitFor(() => expect(puts).toHaveLength(1));
    await settle();
    expect(made.lane.error()).toBeUndefined();
  });

  it('gives up a round with an engine that calls everything old', async () => {
    const sink: Sink = { name: 'nginx', put: async () => 'stale', highestVersion: async () => 0 };
    const made = lane(sink);
    made.lane.offer(table(1).content, table(1).hash);
    await settle();
    expect(made.lane.error()?.message).toContain('calls every version of g old');
    made.lane.stop();
  });

  it('pushes again what an engine has lost', async () => {
    const { sink, puts } = engine();
    const made = lane(sink);
    made.lane.offer(table(1).content, table(1).hash);
    await settle();
    made.lane.invalidate();
    await settle();
    expect(puts.map((put) => put.version)).toEqual([1, 2]);
  });
});

describe('versions', () => {
  it('never go back', () => {
    const versions = createVersions(5);
    versions.met(3);
    expect(versions.next()).toBe(6);
    versions.met(40);
    expect(versions.next()).toBe(41);
    versions.met(Number.NaN);
    versions.met(Number.POSITIVE_INFINITY);
    expect(versions.next()).toBe(42);
  });
});
