import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ConsulClient } from '#core/consul/client.ts';
import { sleep } from '#core/sleep.ts';
import type { TestConsul } from '#test/consul.ts';
import { type HostileConsul, type Mood, startHostileConsul } from '#test/hostile-consul.ts';
import {
  type Backend,
  eventually,
  type Member,
  memberToken,
  register,
  startBackend,
  startLabConsul,
  startMember,
  webSpec,
} from './xlb-sidecar-lab.ts';

const lb = 'shop';
let server: TestConsul;
let consul: ConsulClient;
let hostile: HostileConsul;
let member: Member;
let backends: Backend[];

/** Asks again and again while `action` runs; every answer must be a good one. */
async function underLoad(action: () => Promise<void>): Promise<void> {
  let going = true;
  const bad: string[] = [];
  let count = 0;
  const load = (async () => {
    while (going) {
      await member.get().then(
        ({ status }) => status === 200 || bad.push(String(status)),
        (error: unknown) => bad.push(String(error)),
      );
      count += 1;
      await sleep(5);
    }
  })();
  await action().finally(() => {
    going = false;
  });
  await load;
  expect(bad).toEqual([]);
  expect(count).toBeGreaterThan(10);
}

const peerCount = async () => Math.min(...(await member.peers()).workers.map((worker) => worker.groups.default?.peers.length ?? 0));
const versionOf = async () => (await member.peers()).workers.map((worker) => worker.groups.default?.version ?? 0);

beforeAll(async () => {
  ({ server, client: consul } = await startLabConsul());
  hostile = await startHostileConsul(server.socketPath);
  backends = [await startBackend('a'), await startBackend('b')];
  for (const backend of backends) await register(consul, 'web', backend);
  await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(webSpec(lb)));
  member = await startMember({ lb, consulFolder: hostile.folder, token: await memberToken(consul, lb, `${lb}-1`) });
  await eventually('both are served', async () => (await peerCount()) === 2 && (await member.get()).status === 200);
});

afterEach(async (context) => {
  if (context.task.result?.state === 'fail') console.log(await member.logs());
  hostile.mood('honest');
  await eventually('all is well again', async () => (await peerCount()) === 2 && (await member.status()).consulReachable, 60_000);
});

afterAll(async () => {
  await member?.stop();
  for (const backend of backends ?? []) await backend.close();
  consul?.close();
  await hostile?.stop();
  await server?.stop();
});

describe('Consul that', () => {
  const held: [Mood, string | undefined][] = [
    ['empty', 'of its instances answer'],
    ['empty-stale', 'Consul contradicts itself about web'],
    ['leaderless', undefined],
    ['filtered', undefined],
    ['blind', 'to a token that sees no services at all'],
    ['error', undefined],
    ['garbage', undefined],
    ['hang', undefined],
    ['backwards', undefined],
  ];
  it.each(held)('is in the mood "%s" empties nothing', async (mood, sentence) => {
    await underLoad(async () => {
      hostile.mood(mood);
      if (sentence !== undefined) await eventually('it is said', async () => (await member.status()).sentence.includes(sentence));
      await sleep(3000);
      expect(await peerCount()).toBe(2);
    });
    expect((await member.status()).engineUp).toBe(true);
  });

  it('errs is not asked in a rush', async () => {
    for (const mood of ['error', 'garbage', 'leaderless'] as const) {
      hostile.mood(mood);
      await sleep(1000);
      hostile.count();
      await sleep(4000);
      expect(hostile.count()).toBeLessThan(40);
    }
  });

  it('is killed stops nothing, is said, and is followed again when it is back', async () => {
    await underLoad(async () => {
      await server.kill();
      await eventually('it is said', async () =>
        (await member.status()).sentence.includes('Consul cannot be reached, so the last known peers stay'),
      );
      expect(await peerCount()).toBe(2);
      await server.start();
      await eventually('it is reached', async () => (await member.status()).consulReachable, 60_000);
    });
    const extra = await startBackend('extra');
    await register(consul, 'web', extra);
    await eventually('a new instance is served', async () => (await peerCount()) === 3);
    await consul.agent.deregister('web-extra');
    await eventually('it is gone', async () => (await peerCount()) === 2);
    await extra.close();
  });
});

describe('an empty service', () => {
  it('is believed at once when its instances are gone too', async () => {
    for (const backend of backends) await consul.agent.deregister(`web-${backend.name}`);
    const ports = backends.map((backend) => backend.port);
    for (const backend of backends) await backend.close();
    await eventually('it is empty', async () => (await peerCount()) === 0, 15_000);
    expect((await member.get()).status).toBe(503);
    expect((await member.status()).sentence).toContain('nothing to send requests of default to');
    backends = [await startBackend('a', ports[0]), await startBackend('b', ports[1])];
    for (const backend of backends) await register(consul, 'web', backend);
    await eventually('both are back', async () => (await member.get()).status === 200);
  });

  it('is believed at once when its instances were draining', async () => {
    for (const backend of backends) await register(consul, 'web', backend, { meta: { state: 'draining' } });
    await eventually('they drain', async () =>
      (await member.peers()).workers.every((worker) => worker.groups.default?.peers.every((peer) => peer.state === 'draining')),
    );
    for (const backend of backends) await consul.agent.deregister(`web-${backend.name}`);
    await eventually('it is empty', async () => (await peerCount()) === 0, 15_000);
    for (const backend of backends) await register(consul, 'web', backend);
  });

  it('keeps what answers while agents are silent, and not what had bad news', async () => {
    await register(consul, 'web', backends[0]!, { check: { id: 'web-a-check', name: 'ttl', ttlSeconds: 2, status: 'passing' } });
    await consul.agent.fail('web-b-check', 'on fire');
    await eventually('Consul misses the news', async () =>
      (await consul.health.service('web')).every((one) => one.checks.some((check) => check.status === 'critical')),
    );
    await sleep(1000);
    const states = (await member.peers()).workers.map((worker) => worker.groups.default?.peers.map((peer) => peer.state));
    for (const state of states) expect(state).toEqual(['up', 'down']);
    expect((await member.get()).text).toBe('a');
    for (const backend of backends) await register(consul, 'web', backend);
  });
});

describe('the sidecar', () => {
  it('is killed and started again without a lost request, and pushes nothing that is live already', async () => {
    await sleep(1500);
    const before = await versionOf();
    await underLoad(async () => {
      const before = await member.sidecarPid();
      await member.killSidecar();
      await eventually('another one answers', async () => {
        const now = await member.sidecarPid();
        return now !== before && (await member.status()).specIndex > 0 && (await member.status()).consulReachable;
      });
    });
    expect(await versionOf()).toEqual(before);
    const record = await consul.kv.get(`xcaas/lb/${lb}/members/${lb}-1`);
    expect(record?.session).toBeDefined();
  });

  it('started while Consul is dead harms nothing and says so', async () => {
    hostile.mood('hang');
    await underLoad(async () => {
      await member.killSidecar();
      await eventually('it says so', async () => {
        const { sentence, consulReachable, engineUp } = await member.status();
        return (!consulReachable && engineUp && sentence.includes('as before, no specification has been read yet')) || sentence;
      });
    });
    expect(await peerCount()).toBe(2);
  });

  it('and its container start with Consul dead: what was last known is served', async () => {
    await sleep(1500);
    const before = await versionOf();
    hostile.mood('hang');
    await member.restart();
    const start = performance.now();
    await eventually('requests are served', async () => (await member.get()).status === 200, 15_000);
    console.log(`served ${Math.round(performance.now() - start)} ms after the container was started`);
    await eventually('the same tables are held', async () => isDeepStrictEqual(await versionOf(), before));
    hostile.mood('honest');
    await eventually('Consul is followed again', async () => (await member.status()).specIndex > 0);
    for (const version of await versionOf()) expect(version).toBeGreaterThanOrEqual(before[0] ?? 0);
  });

  it('follows nginx when that is killed', async () => {
    await member.exec('sh', '-c', 'kill -9 $(cat /run/xlb/nginx.pid)');
    await eventually('requests are served', async () => (await member.get()).status === 200);
    await eventually('it is said', async () => (await member.status()).engineUp);
    const extra = await startBackend('extra');
    await register(consul, 'web', extra);
    await eventually('a new instance is served', async () => (await peerCount()) === 3);
    await consul.agent.deregister('web-extra');
    await extra.close();
  });
});
