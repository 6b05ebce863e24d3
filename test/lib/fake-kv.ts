import { randomUUID } from 'node:crypto';
import type { ConsulClient, KvEntry } from '#core/consul/client.ts';
import type { ConsulAnswer, ConsulRequest } from '#core/consul/transport.ts';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';

/** Consul's key-value part in memory, with its indexes, locks, sessions, blocking queries and transactions. The real one is tried in test/ground. */
export interface FakeKv extends Pick<ConsulClient, 'kv' | 'session' | 'request'> {
  /** Runs before each operation; may throw, or change the world in between as another client would. */
  before: ((operation: string, key: string) => void | Promise<void>) | undefined;
  /** Runs after each operation was done; what it throws is an answer that was lost. */
  after: ((operation: string, key: string) => void | Promise<void>) | undefined;
  keys(): string[];
  writes: number;
}

interface TxnOperation {
  KV: { Verb: string; Key: string; Value?: string; Index?: number };
}

export function createFakeKv(): FakeKv {
  const store = new Map<string, KvEntry>();
  const sessions = new Map<string, 'release' | 'delete'>();
  let index = 1;

  const set = (key: string, value: string, session?: string | null): boolean => {
    const old = store.get(key);
    const holder = session === undefined ? old?.session : (session ?? undefined);
    const lockIndex = (old?.lockIndex ?? 0) + (typeof session === 'string' && old?.session !== session ? 1 : 0);
    fake.writes += 1;
    // Consul leaves the index of a key alone that is written with what it holds.
    if (old !== undefined && old.value === value && old.session === holder) return true;
    index += 1;
    store.set(key, { key, value, modifyIndex: index, lockIndex, session: holder });
    return true;
  };
  const matches = (key: string, expected: number) => (store.get(key)?.modifyIndex ?? 0) === expected;
  const remove = (key: string) => {
    if (store.delete(key)) index += 1;
  };
  const removeTree = (prefix: string) => {
    for (const key of [...store.keys()]) if (key.startsWith(prefix)) remove(key);
  };
  const under = (prefix: string) =>
    [...store.values()].filter(({ key }) => key.startsWith(prefix)).sort((a, b) => (a.key < b.key ? -1 : 1));
  /** One index for all keys: it wakes queries more often than Consul's does, never less often. */
  const query = async (path: string, { query = {}, signal }: ConsulRequest): Promise<ConsulAnswer> => {
    const key = decodeURIComponent(path);
    const wait = /^(\d+)(ms|s)$/.exec(String(query.wait ?? '5s'));
    const end = performance.now() + Number(wait?.[1]) * (wait?.[2] === 's' ? 1000 : 1);
    await fake.before?.('query', key);
    while (query.index !== undefined && Number(query.index) >= index && performance.now() < end && !signal?.aborted) await sleep(2, signal);
    if (signal?.aborted) throw new AppError('timeout', 'called off');
    const found = query.recurse || query.keys ? under(key) : under(key).filter((entry) => entry.key === key);
    const rows = found.map((entry) => ({
      Key: entry.key,
      Value: Buffer.from(entry.value).toString('base64'),
      ModifyIndex: entry.modifyIndex,
      LockIndex: entry.lockIndex,
      ...(entry.session === undefined ? {} : { Session: entry.session }),
    }));
    const body = query.keys ? found.map((entry) => entry.key) : rows;
    const headers = { 'x-consul-index': String(index), 'x-consul-knownleader': 'true' };
    return found.length === 0 ? { status: 404, headers, text: '', body: '' } : { status: 200, headers, text: JSON.stringify(body), body };
  };
  const step = async <T>(operation: string, key: string, action: () => T): Promise<T> => {
    await fake.before?.(operation, key);
    const result = action();
    await fake.after?.(operation, key);
    return result;
  };
  const run = ({ Verb, Key, Value = '', Index = 0 }: TxnOperation['KV']): string | undefined => {
    const value = Buffer.from(Value, 'base64').toString();
    if (Verb.endsWith('cas') && !matches(Key, Index)) {
      const now = store.get(Key)?.modifyIndex;
      return now === undefined ? `failed to set key "${Key}", index is stale` : `failed to set key "${Key}", current modify index: ${now}`;
    }
    if (Verb === 'cas' || Verb === 'set') set(Key, value);
    else if (Verb === 'delete' || Verb === 'delete-cas') remove(Key);
    else if (Verb === 'delete-tree') removeTree(Key);
    else throw new Error(`the fake knows no ${Verb}`);
    return undefined;
  };

  const fake: FakeKv = {
    before: undefined,
    after: undefined,
    writes: 0,
    keys: () => [...store.keys()].sort(),
    kv: {
      get: (key) => step('get', key, () => copy(store.get(key))),
      list: (prefix) => step('list', prefix, () => under(prefix).map((entry) => ({ ...entry }))),
      put: (key, value) => step('put', key, () => void set(key, value)),
      cas: (key, value, expected) => step('cas', key, () => matches(key, expected) && set(key, value)),
      delete: (key, { cas } = {}) =>
        step('delete', key, () => {
          if (cas !== undefined && store.has(key) && !matches(key, cas)) return false;
          remove(key);
          return true;
        }),
      deleteTree: (prefix) => step('delete-tree', prefix, () => removeTree(prefix)),
      acquire: (key, value, session) =>
        step('acquire', key, () => {
          if (!sessions.has(session)) throw new AppError('engine', `Consul answered locking ${key} with 500: invalid session`);
          const holder = store.get(key)?.session;
          return (holder === undefined || holder === session) && set(key, value, session);
        }),
      release: (key, session) => step('release', key, () => store.get(key)?.session === session && set(key, '', null)),
    },
    session: {
      create: async ({ behavior }) => {
        const id = randomUUID();
        sessions.set(id, behavior);
        return id;
      },
      renew: (id) => step('renew', id, () => sessions.has(id)),
      destroy: async (id) => {
        const behavior = sessions.get(id);
        sessions.delete(id);
        for (const entry of [...store.values()]) {
          if (entry.session !== id) continue;
          if (behavior === 'delete') remove(entry.key);
          else set(entry.key, entry.value, null);
        }
      },
    },
    request: async (method, path, request = {}) => {
      const { body } = request;
      if (method === 'GET' && path.startsWith('/v1/kv/')) return query(path.slice('/v1/kv/'.length), request);
      if (method !== 'PUT' || path !== '/v1/txn') throw new Error(`the fake has no ${method} ${path}`);
      const operations = body as TxnOperation[];
      return step('txn', operations[0]?.KV.Key ?? '', (): ConsulAnswer => {
        const saved = [...store];
        const Errors = operations.flatMap(({ KV }, OpIndex) => {
          const What = run(KV);
          return What === undefined ? [] : [{ OpIndex, What }];
        });
        if (Errors.length === 0) return { status: 200, headers: {}, text: '', body: { Results: [], Errors: null } };
        store.clear();
        for (const [key, entry] of saved) store.set(key, entry);
        return { status: 409, headers: {}, text: '', body: { Results: null, Errors } };
      });
    },
  };
  return fake;
}

function copy(entry: KvEntry | undefined): KvEntry | undefined {
  return entry === undefined ? undefined : { ...entry };
}
