import { describe, expect, it } from 'vitest';
import { listEvents } from '#pool/events.ts';
import { living, operationsWorld as world } from '#test/xdb-operations.ts';
import { upgradeDb } from '#xdb/operations/upgrade.ts';

const image = (id: string, tags: string[], labels: Record<string, string> = { 'xcaas.appliance': 'xdb', 'xcaas.flavor': 'mariadb' }) => ({
  ...{ id: `sha256:${id.repeat(64)}`, tags, sizeBytes: 1, labels },
});
const [first, second] = [image('1', ['xcaas/xdb:1']), image('2', ['xcaas/xdb:2'])];
const made = async () => {
  const images = [
    first,
    second,
    image('3', ['xcaas/xmy:1'], { 'xcaas.appliance': 'xdb', 'xcaas.flavor': 'mysql' }),
    image('4', ['nginx:1'], {}),
  ];
  const it = await world({ images });
  await living(it);
  return { ...it, images, imageId: async () => (await it.store.spec('adb')).value.imageId };
};

describe('db upgrade', () => {
  it('has members run another image, which is known by its id from then on', async () => {
    const { deps, store, imageId } = await made();
    expect(await imageId()).toBe(first.id);
    expect(await upgradeDb(deps, 'adb', 'xcaas/xdb:2')).toMatchObject({ changed: true, imageId: second.id });
    expect((await store.spec('adb')).value).toMatchObject({ imageId: second.id, image: 'xcaas/xdb:2' });
    expect(await listEvents(store.consul)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ object: 'db/adb', reason: 'upgrade', sentence: expect.stringContaining('xcaas/xdb:2') }),
      ]),
    );
    expect(await upgradeDb(deps, 'adb', undefined)).toMatchObject({ changed: false });
  });

  it('without a name goes by what the name of before means now', async () => {
    const { deps, images, imageId } = await made();
    expect(await upgradeDb(deps, 'adb', undefined)).toMatchObject({ changed: false, sentence: expect.stringContaining('already') });
    images[0] = image('5', ['xcaas/xdb:1']);
    expect(await upgradeDb(deps, 'adb', undefined)).toMatchObject({ changed: true, imageId: images[0].id });
    expect(await imageId()).toBe(images[0].id);
  });

  it.each([
    ['nginx:1', 'invalid'],
    ['xcaas/xmy:1', 'invalid'],
    ['gone:1', 'not_found'],
  ])('%s is refused (%s), and nothing is changed', async (ref, code) => {
    const { deps, imageId, kv } = await made();
    const { writes } = kv;
    await expect(upgradeDb(deps, 'adb', ref)).rejects.toMatchObject({ code, hint: expect.any(String) });
    expect(await imageId()).toBe(first.id);
    expect(kv.writes).toBe(writes);
  });
});
