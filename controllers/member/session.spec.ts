import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { keepSession, type MemberSession, type MemberSessionOptions } from './session.ts';

interface Said {
  sentence: string;
  rev: number;
}

/** What Consul was given, in order. */
const written: Said[] = [];
const consul: MemberSessionOptions<Said>['consul'] = {
  session: { create: async () => 'session', renew: async () => true, destroy: async () => undefined },
  kv: {
    get: async () => undefined,
    acquire: async (_key, value) => written.push(JSON.parse(String(value))) > 0,
    release: async () => true,
  },
};

let session: MemberSession<Said>;
afterEach(() => session.stop());

describe('the record of a member', () => {
  it('is written once a second at most, but at once when somebody waits for what has changed', async () => {
    session = keepSession<Said>({
      ...{ consul, key: 'k', lockKey: 'l', member: 'm', log: silentLogger(), onChange: () => undefined, name: 'm' },
      ...{ ttlSeconds: 60, stillOf: (said) => JSON.stringify(said), awaitedOf: ({ rev }) => String(rev) },
    });
    session.set({ sentence: 'first', rev: 1 });
    await waitFor(async () => written.length === 1 || undefined, { timeoutMs: 5000, intervalMs: 5 });
    session.set({ sentence: 'second', rev: 1 });
    session.set({ sentence: 'third', rev: 2 });
    await waitFor(async () => written.length === 2 || undefined, { timeoutMs: 5000, intervalMs: 5 });
    expect(written).toEqual([
      { sentence: 'first', rev: 1 },
      { sentence: 'third', rev: 2 },
    ]);
    // Nobody waits for this one, and the next turn of the session is 15 s away.
    session.set({ sentence: 'fourth', rev: 2 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(written).toHaveLength(2);
  });
});
