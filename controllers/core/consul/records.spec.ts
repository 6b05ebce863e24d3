import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createRecords, parseRecord } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { createFakeKv } from '#test/fake-kv.ts';

const Thing = z.object({ v: z.literal(1), count: z.number(), parts: z.array(z.object({ port: z.number() })).default([]) });
const thing = (count: number) => ({ v: 1 as const, count, parts: [] });

function setup() {
  const consul = createFakeKv();
  return { consul, records: createRecords(consul, Thing) };
}

describe('createRecords', () => {
  it('writes what was not there, and nothing over what was', async () => {
    const { records } = setup();
    expect(await records.cas('a', thing(1), 0)).toBe(true);
    expect(await records.cas('a', thing(2), 0)).toBe(false);
    expect((await records.get('a'))?.value).toEqual(thing(1));
    expect(await records.get('b')).toBeUndefined();
  });

  it('never writes what does not fit', async () => {
    const { consul, records } = setup();
    await expect(records.cas('a', { v: 1, count: 'x' } as never, 0)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('count'),
    });
    expect(consul.writes).toBe(0);
  });

  it('loses no change of many at a time', async () => {
    const { records } = setup();
    await Promise.all(Array.from({ length: 8 }, () => records.update('a', (present) => thing((present?.count ?? 0) + 1))));
    expect((await records.get('a'))?.value.count).toBe(8);
  });

  it('gives up when others never stop writing', async () => {
    const { consul, records } = setup();
    let other = 0;
    consul.before = async (operation, key) => {
      if (operation === 'cas' && key === 'a') await consul.kv.put('a', JSON.stringify(thing(++other)));
    };
    await expect(records.update('a', () => thing(0))).rejects.toMatchObject({ code: 'cas_lost' });
  });

  it('writes nothing when the change says so, or throws', async () => {
    const { consul, records } = setup();
    await records.cas('a', thing(1), 0);
    const { writes } = consul;
    expect(await records.update('a', () => undefined)).toEqual(thing(1));
    await expect(
      records.update('a', () => {
        throw new AppError('conflict', 'no');
      }),
    ).rejects.toMatchObject({ code: 'conflict' });
    expect(consul.writes).toBe(writes);
  });

  it('takes a key without a value for no record, and can write one there', async () => {
    const { consul, records } = setup();
    await consul.kv.put('p/a', '');
    expect(await records.get('p/a')).toBeUndefined();
    expect(await records.list('p/')).toEqual([]);
    expect(await records.update('p/a', (present) => (present === undefined ? thing(1) : undefined))).toEqual(thing(1));
  });

  it('hands on that an answer was lost: the caller reads again before acting', async () => {
    const { consul, records } = setup();
    consul.after = (operation) => {
      if (operation === 'cas') throw new AppError('timeout', 'lost');
    };
    await expect(records.update('a', () => thing(1))).rejects.toMatchObject({ code: 'timeout' });
    expect((await records.get('a'))?.value).toEqual(thing(1));
  });
});

describe('parseRecord', () => {
  it.each([
    ['not json', /xcaas\/x in Consul is not JSON/],
    ['', /is not JSON/],
    ['null', /does not fit/],
    ['{"v":2,"count":1}', /xcaas\/x in Consul does not fit its schema at v: /],
    ['{"v":1,"count":1,"parts":[{"port":"80"}]}', /at parts\.0\.port: /],
  ])('%s is nobody’s mistake who asks now, and says where', (value, message) => {
    expect(() => parseRecord(Thing, { key: 'xcaas/x', value })).toThrow(
      expect.objectContaining({ code: 'internal', message: expect.stringMatching(message), hint: expect.any(String) }),
    );
  });
});
