import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import type { BackupStore } from '#backup/stores/store.ts';
import { AppError } from '#core/errors.ts';
import { fullKeys } from './catalog.ts';
import { chooseFrom, type ReadablePlace, windowsOf } from './choose.ts';
import type { BackupMarker } from './schema.ts';

const id = (n: number) => `2026010${n}-020000-abcd`;

/** A place with the full backups of these days, and nothing of a binlog. */
function place(shown: string, ...days: number[]): ReadablePlace {
  const objects = new Map<string, string>();
  for (const day of days) {
    const time = `2026-01-0${day}T02:00:00Z`;
    const marker: BackupMarker = {
      ...{ v: 1, id: id(day), db: 'adb', member: 'adb-2', flavor: 'mariadb', engineVersion: '11.8', started: time, finished: time },
      ...{ gtid: `0-1-${day}`, at: Date.parse(time) / 1000, bytes: 4, sha256: '', contentBytes: 4, encrypted: true },
    };
    objects.set(fullKeys(id(day)).data, 'data');
    objects.set(fullKeys(id(day)).marker, JSON.stringify(marker));
  }
  const store: Partial<BackupStore> = {
    list: async (prefix) => [...objects].filter(([key]) => key.startsWith(prefix)).map(([key, text]) => ({ key, bytes: text.length })),
    get: async (key) => Readable.from([Buffer.from(objects.get(key) ?? '')]),
  };
  return { store: store as BackupStore, keyOf: () => undefined, shown, history: 'h' };
}

const code = (wanted: string, message: RegExp) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

it('chooses in the present place, and where it does not have it, in those before', async () => {
  const places = [place('new', 3, 4), place('old', 1, 2)];
  expect(await chooseFrom(places, {})).toEqual({ backup: id(4), gtid: '0-1-4', store: 'new', history: 'h' });
  expect(await chooseFrom(places, { backup: id(2) })).toMatchObject({ store: 'old' });
  expect((await windowsOf(places)).map(({ store }) => store)).toEqual(['old', 'old', 'new', 'new']);
});

it('refuses with what says most: what can be had rather than that there is nothing', async () => {
  const at = { at: '2020-01-01T00:00:00Z' };
  await expect(chooseFrom([place('new'), place('old', 1)], at)).rejects.toEqual(code('invalid', /what can be is 2026-01-01T02:00:01Z/));
  await expect(chooseFrom([place('new', 1), place('old')], at)).rejects.toEqual(code('invalid', /what can be is 2026-01-01T02:00:01Z/));
  await expect(chooseFrom([place('new'), place('old')], at)).rejects.toEqual(code('not_found', /no complete backup/));
});

it('does not take a store that cannot be reached for one that has nothing', async () => {
  const down = {
    ...place('new'),
    store: { list: () => Promise.reject(new AppError('unavailable', 'nothing listens there')) } as unknown as BackupStore,
  };
  await expect(chooseFrom([down, place('old', 1)], {})).rejects.toEqual(code('unavailable', /nothing listens/));
});
