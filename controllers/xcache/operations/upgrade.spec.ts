import { describe, expect, it } from 'vitest';
import { listEvents } from '#pool/events.ts';
import { cacheWorld, livingCache } from '#test/xcache-operations.ts';
import { said } from '#test/xcache-world.ts';
import type { CreateCacheRequest } from './create.ts';
import { setOptions } from './maintain.ts';
import { upgradeCache } from './upgrade.ts';

const image = (id: string, tag: string, labels: Record<string, string>) => ({
  ...{ id: `sha256:${id.repeat(64)}`, tags: [tag], sizeBytes: 1, labels: { 'xcaas.appliance': 'xcache', ...labels } },
});
const IMAGES = () => [
  image('1', 'xcaas/xcache:1', { 'xcaas.valkey': '9.1', 'xcaas.redis': '8.0' }),
  image('2', 'xcaas/xcache:2', { 'xcaas.valkey': '9.2', 'xcaas.redis': '8.0' }),
  image('3', 'old:1', { 'xcaas.valkey': '8.1', 'xcaas.redis': '8.0' }),
  image('4', 'older-minor:1', { 'xcaas.valkey': '9.0', 'xcaas.redis': '8.0' }),
  image('5', 'redis-only:1', { 'xcaas.redis': '9.9' }),
  image('6', 'silent:1', {}),
  image('7', 'xcaas/xlb:1', { 'xcaas.appliance': 'xlb' }),
];

async function made(request: Partial<CreateCacheRequest> = {}) {
  const images = IMAGES();
  const world = await cacheWorld({ images });
  const version = { version: '9.1.2' };
  await livingCache(world, { request, sidecars: [said('acache-1', 'master', version), said('acache-2', 'replica', version)] });
  return { ...world, images, spec: async () => (await world.store.spec('acache')).value };
}

describe('cache upgrade', () => {
  it('has members run another image, which is known by its id from then on', async () => {
    const { deps, store, images, spec } = await made();
    expect((await spec()).imageId).toBe(images[0]?.id);
    expect(await upgradeCache(deps, 'acache', { image: 'xcaas/xcache:2' })).toMatchObject({ changed: true, imageId: images[1]?.id });
    expect(await spec()).toMatchObject({ imageId: images[1]?.id, image: 'xcaas/xcache:2' });
    expect(await listEvents(store.consul)).toContainEqual(
      expect.objectContaining({ object: 'cache/acache', reason: 'upgrade', sentence: expect.stringContaining('xcaas/xcache:2') }),
    );
    expect(await upgradeCache(deps, 'acache', {})).toMatchObject({ changed: false, sentence: expect.stringContaining('already') });
  });

  it('without a name goes by what the name of before means now', async () => {
    const { deps, images, spec } = await made();
    images[0] = image('9', 'xcaas/xcache:1', { 'xcaas.valkey': '9.1' });
    expect(await upgradeCache(deps, 'acache', {})).toMatchObject({ changed: true, imageId: images[0].id });
    expect((await spec()).imageId).toBe(images[0].id);
  });

  it.each([
    ['gone:1', 'not_found', /no host that lives has the image gone:1/],
    ['xcaas/xlb:1', 'invalid', /the appliance xlb/],
    ['old:1', 'invalid', /old:1 has valkey 8.1, and acache runs valkey 9.1.2/],
    ['older-minor:1', 'invalid', /has valkey 9.0, and acache runs valkey 9.1.2/],
    ['redis-only:1', 'invalid', /redis-only:1 has redis only, and acache is valkey/],
    ['silent:1', 'invalid', /does not say which engines it has/],
  ])('%s is refused (%s), and nothing is changed', async (ref, code, message) => {
    const { deps, kv } = await made();
    const { writes } = kv;
    await expect(upgradeCache(deps, 'acache', { image: ref })).rejects.toMatchObject({
      ...{ code, hint: expect.any(String), message: expect.stringMatching(message) },
    });
    expect(kv.writes).toBe(writes);
  });

  it('by force takes an image that does not say what it has, but none that says that it cannot do', async () => {
    const { deps, images } = await made();
    await expect(upgradeCache(deps, 'acache', { image: 'old:1', force: true })).rejects.toMatchObject({ code: 'invalid' });
    expect(await upgradeCache(deps, 'acache', { image: 'silent:1', force: true })).toMatchObject({ changed: true, imageId: images[5]?.id });
  });

  it.each([
    ['standalone', /one member and keeps nothing on disk: another image empties it/],
    ['cluster', /a cluster that keeps nothing on disk: another image may lose keys/],
  ] as const)('asks before a %s cache may lose keys by it', async (mode, message) => {
    const { deps, kv, images, spec } = await made({ mode });
    const { writes } = kv;
    const asked = { image: 'xcaas/xcache:2' };
    await expect(upgradeCache(deps, 'acache', asked)).rejects.toMatchObject({
      ...{ code: 'conflict', message: expect.stringMatching(message), hint: expect.stringContaining('--force') },
    });
    expect(kv.writes).toBe(writes);
    await setOptions(deps, 'acache', { persistence: 'rdb' });
    expect(await upgradeCache(deps, 'acache', asked)).toMatchObject({ changed: true });
    expect((await spec()).imageId).toBe(images[1]?.id);
  });
});
