import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import type { ContainerReport, FetchImageRequest, ImageReport } from '#pool/agent-api.ts';
import { findContainer } from '#pool/containers.ts';
import type { Host } from '#pool/host.ts';
import { ensureImage, resolveImage } from '#pool/images.ts';
import { testHost } from '#test/pool-hosts.ts';

function container(name: string, id: string, host: Host): ContainerReport {
  const image = `sha256:${'0'.repeat(64)}`;
  return { id: id.padEnd(64, '0'), name, image, state: 'running', networks: {}, ports: [], labels: {}, host: host.spec.id };
}

const [a, b, c] = [testHost(1, { name: 'host-a' }), testHost(2, { name: 'host-b' }), testHost(3, { name: 'host-c' })];

describe('findContainer', () => {
  const poolWith = (hosts: Host[], containers: ContainerReport[], silent: string[] = []) => ({
    hosts: async () => hosts,
    agent: (host: Host) => ({
      findContainers: async (find: string) => {
        if (silent.includes(host.spec.name)) throw new AppError('timeout', `host ${host.spec.name}: no answer`);
        return containers.filter((each) => each.host === host.spec.id && (each.name === find || each.id.startsWith(find)));
      },
    }),
  });
  const containers = [container('web', 'abc1', a), container('web', 'def1', b), container('db', 'abc2', c), container('abc2', '9999', a)];

  it('finds a name or the beginning of an id on whichever host', async () => {
    expect(await findContainer(poolWith([a, b, c], containers), 'db')).toMatchObject({ host: c, report: { name: 'db' } });
    expect(await findContainer(poolWith([a, b, c], containers), 'def')).toMatchObject({ host: b });
  });

  it('takes a name before the beginning of an id, and a whole id before both', async () => {
    expect(await findContainer(poolWith([a, b, c], containers), 'abc2')).toMatchObject({ host: a, report: { name: 'abc2' } });
    expect(await findContainer(poolWith([a, b, c], containers), 'abc2'.padEnd(64, '0'))).toMatchObject({ host: c });
  });

  it('names the candidates with their hosts', async () => {
    await expect(findContainer(poolWith([a, b, c], containers), 'web')).rejects.toMatchObject({
      code: 'ambiguous',
      message: '"web" could be any of: web (abc100000000) on host-a, web (def100000000) on host-b',
    });
    await expect(findContainer(poolWith([a, b, c], containers), 'abc')).rejects.toMatchObject({ code: 'ambiguous' });
  });

  it('names the hosts that were asked and those that could not be', async () => {
    await expect(findContainer(poolWith([a, { ...b, alive: false }, c], containers, ['host-c']), 'nothing')).rejects.toMatchObject({
      code: 'not_found',
      message: 'there is no container "nothing" in the pool: asked host-a; could not ask host-b (down), host-c (no answer)',
    });
  });

  it('finds what is there though another host does not answer', async () => {
    expect(await findContainer(poolWith([a, b, c], containers, ['host-b']), 'web')).toMatchObject({ host: a });
    await expect(findContainer(poolWith([a], containers), ' ')).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('images', () => {
  const image = (digit: string, ...tags: string[]): ImageReport => ({ id: `sha256:${digit.repeat(64)}`, tags, sizeBytes: 1, labels: {} });
  const xlb = image('1', 'xcaas/xlb:0.1.0', 'xcaas/xlb:latest');
  const setUp = (stock: Record<string, ImageReport[]>) => {
    const fetched: (FetchImageRequest & { to: string })[] = [];
    const agent = (host: Host) => ({
      images: async () => {
        const images = stock[host.spec.name];
        if (images === undefined) throw new AppError('unavailable', 'no answer');
        return images;
      },
      fetchImage: async (request: FetchImageRequest) => {
        fetched.push({ ...request, to: host.spec.name });
        return { id: request.id, fetched: true, from: request.from[0] };
      },
    });
    return { access: { agent }, fetched };
  };

  it('reads a tag as the engine does', async () => {
    const { access } = setUp({ 'host-a': [xlb] });
    for (const tag of ['xcaas/xlb:0.1.0', 'xcaas/xlb', 'docker.io/xcaas/xlb:0.1.0', xlb.id])
      expect((await resolveImage(access, a, tag)).id).toBe(xlb.id);
    await expect(resolveImage(access, a, 'xcaas/xlb:0.2.0')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('fetches only what is missing, from hosts that have it, the nearest first', async () => {
    const near = testHost(4, { name: 'host-d', group: 'group1' });
    const far = testHost(5, { name: 'host-e', group: 'group2' });
    const { access, fetched } = setUp({ 'host-a': [], 'host-b': [], 'host-d': [xlb], 'host-e': [xlb] });
    const hosts = [far, a, b, c, near];
    expect(await ensureImage(access, { id: xlb.id, host: near, hosts })).toMatchObject({ fetched: false });
    expect(await ensureImage(access, { id: xlb.id, host: a, hosts })).toMatchObject({ fetched: true });
    expect(fetched).toEqual([{ id: xlb.id, from: ['10.0.0.4', '10.0.0.5'], to: 'host-a' }]);
  });

  it('says who could not be asked when nobody has it', async () => {
    const { access } = setUp({ 'host-a': [], 'host-b': [] });
    await expect(ensureImage(access, { id: xlb.id, host: a, hosts: [a, b, c] })).rejects.toMatchObject({
      code: 'not_found',
      message: 'no host that lives has the image sha256:111111111111 that host-a needs; could not ask host-c (no answer)',
    });
  });
});
