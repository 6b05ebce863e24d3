import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ConsulAnswer, consulAnswer } from '#core/consul/transport.ts';
import { silentLogger } from '#core/log.ts';
import { followService, type ServiceFollower, type ServiceFollowerOptions } from './service.ts';
import type { ServiceMemory } from './store.ts';
import type { Instance } from './table.ts';

const entry = (id: string, port: number) => ({
  Node: { Node: 'n', Address: '10.0.0.1' },
  Service: { ID: id, Service: 'web', Address: '10.0.0.1', Port: port },
  Checks: [],
});

/** A Consul of one service whose answers the test decides; blocking queries wait until it changes. */
function fakeConsul() {
  const state = {
    list: [] as unknown[],
    index: 10,
    consistent: undefined as unknown[] | undefined,
    witness: true,
    filtered: false,
    status: 200,
    requests: 0,
  };
  let wake: () => void = () => undefined;
  const request = async (
    _method: string,
    path: string,
    options: { query?: Record<string, unknown>; signal?: AbortSignal } = {},
  ): Promise<ConsulAnswer> => {
    state.requests += 1;
    const headers = { 'content-type': 'application/json', 'x-consul-knownleader': 'true' };
    if (path.endsWith('/consul')) return consulAnswer(200, headers, JSON.stringify(state.witness ? [entry('consul', 8300)] : []));
    const asked = Number(options.query?.index ?? 0);
    if (asked === state.index) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        options.signal?.addEventListener('abort', () => resolve());
      });
    }
    const list = options.query?.consistent ? (state.consistent ?? state.list) : state.list;
    const more = state.filtered ? { 'x-consul-results-filtered-by-acls': 'true' } : {};
    return consulAnswer(state.status, { ...headers, ...more, 'x-consul-index': String(state.index) }, JSON.stringify(list));
  };
  return {
    state,
    request,
    set(list: unknown[], more: Partial<typeof state> = {}) {
      Object.assign(state, { list, consistent: undefined, witness: true, filtered: false, status: 200, index: state.index + 1, ...more });
      wake();
    },
  };
}

let follower: ServiceFollower;
function follow(consul: ReturnType<typeof fakeConsul>, options: Partial<ServiceFollowerOptions> = {}) {
  const saved: ServiceMemory[] = [];
  follower = followService({
    ...{
      service: 'web',
      consul: consul as never,
      prior: undefined,
      isRemoved: async () => false,
      probe: async () => new Set<string>(),
      onChange: () => undefined,
    },
    ...{ save: async (memory: ServiceMemory) => void saved.push(memory), log: silentLogger(), recheckMs: 20, holdMs: 10_000 },
    ...options,
  });
  return saved;
}
const ids = () => follower.instances()?.map((instance) => instance.id);
const alive = async (instances: readonly Instance[]) => new Set(instances.map((instance) => instance.id));

afterEach(() => follower.stop());

describe('a followed service', () => {
  it('is unknown until the first answer, which is believed as it is', async () => {
    const consul = fakeConsul();
    follow(consul);
    expect(follower.instances()).toBeUndefined();
    await vi.waitFor(() => expect(ids()).toEqual([]));
    consul.set([entry('a', 1), entry('b', 2)]);
    await vi.waitFor(() => expect(ids()).toEqual(['a', 'b']));
  });

  it('begins with what was believed before, and holds it against an empty first answer', async () => {
    const consul = fakeConsul();
    const memory = { v: 1 as const, service: 'web', instances: [{ ...readOne(), id: 'a' }] };
    follow(consul, { prior: memory, probe: alive });
    expect(ids()).toEqual(['a']);
    await vi.waitFor(() => expect(follower.held()).toContain('1 of its instances answer'));
    expect(ids()).toEqual(['a']);
  });

  it('empties when nothing answers, and after the hold when something does', async () => {
    const consul = fakeConsul();
    consul.set([entry('a', 1)]);
    follow(consul);
    await vi.waitFor(() => expect(ids()).toEqual(['a']));
    consul.set([]);
    await vi.waitFor(() => expect(ids()).toEqual([]));
    follower.stop();

    let time = 0;
    consul.set([entry('a', 1)]);
    follow(consul, { probe: alive, now: () => time });
    await vi.waitFor(() => expect(ids()).toEqual(['a']));
    consul.set([]);
    await vi.waitFor(() => expect(follower.held()).toBeDefined());
    expect(ids()).toEqual(['a']);
    time = 10_000;
    await vi.waitFor(() => expect(ids()).toEqual([]));
    expect(follower.held()).toBeUndefined();
  });

  it.each([
    ['contradicts itself', { consistent: [entry('a', 1)] }],
    ['shows a token nothing at all', { witness: false }],
    ['says that rights took entries away', { filtered: true }],
    ['errs', { status: 500 }],
  ])(
    'keeps all while Consul %s',
    async (_, more) => {
      const consul = fakeConsul();
      consul.set([entry('a', 1), entry('b', 2)]);
      follow(consul);
      await vi.waitFor(() => expect(ids()).toEqual(['a', 'b']));
      consul.set([], more);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(ids()).toEqual(['a', 'b']);
      consul.set([entry('a', 1)]);
      await vi.waitFor(() => expect(ids()).toEqual(['a']), { timeout: 8000 });
      expect(follower.held()).toBeUndefined();
    },
    15_000,
  );

  it('forgets its doubt as soon as instances are back', async () => {
    const consul = fakeConsul();
    consul.set([entry('a', 1)]);
    const saved = follow(consul, { probe: alive });
    await vi.waitFor(() => expect(ids()).toEqual(['a']));
    consul.set([]);
    await vi.waitFor(() => expect(follower.held()).toBeDefined());
    consul.set([entry('b', 2)]);
    await vi.waitFor(() => expect(ids()).toEqual(['b']));
    follower.stop();
    expect(saved.at(-1)).toMatchObject({ service: 'web', instances: [{ id: 'b' }] });
    expect(saved.at(-1)?.emptySince).toBeUndefined();
  });
});

function readOne(): Instance {
  return { id: 'x', address: '10.0.0.1', port: 1, weight: 100, state: 'up', container: '', node: 'n', silent: false, unweighted: true };
}
