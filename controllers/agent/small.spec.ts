import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { parseLabels } from './facts.ts';
import { paced } from './images.ts';
import { parseOpenFiles } from './limits.ts';
import { createKeyedMutex } from './mutex.ts';
import { authorize } from './peer.ts';
import { parseAddress } from './probe.ts';

test('the limit of open files is the hard one', () => {
  expect(
    parseOpenFiles(
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 20000                files     \n',
    ),
  ).toBe(20000);
  expect(parseOpenFiles('Max open files            1024                 unlimited            files     \n')).toBe(1_048_576);
  expect(parseOpenFiles('')).toBeUndefined();
});

test('labels of an engine', () => {
  expect(parseLabels(['storage=ssd', 'a=b=c', 'bare', 5])).toEqual({ storage: 'ssd', a: 'b=c', bare: '' });
  expect(parseLabels(null)).toEqual({});
});

test.each(['10.0.0.1:80', '[::1]:65535'])('%s can be probed', (text) => {
  expect(parseAddress(text).port).toBeGreaterThan(0);
});
test.each(['', 'example.org:80', '10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', '999.0.0.1:80', '::1:80', '10.0.0.1:80/x'])(
  '%j cannot',
  (text) => {
    expect(() => parseAddress(text)).toThrow(/is not IP:PORT/);
  },
);

test('control may all, an agent a few reads', () => {
  expect(() => authorize('control', 'DELETE', '/v1/members/x')).not.toThrow();
  expect(() => authorize('agent', 'GET', `/v1/images/sha256:${'a'.repeat(64)}/tar`)).not.toThrow();
  expect(() => authorize('agent', 'GET', '/v1/images/x/tar')).toThrow(/OU=agent may not/);
  expect(() => authorize('agent', 'POST', '/v1/images')).toThrow(/only OU=control/);
});

test('a paced stream takes its time and loses nothing', async () => {
  const counter = { bytes: 0 };
  const began = performance.now();
  let size = 0;
  for await (const chunk of paced(Readable.from(Array.from({ length: 10 }, () => Buffer.alloc(1000))), 50_000, counter))
    size += chunk.length;
  expect(size).toBe(10_000);
  expect(counter.bytes).toBe(10_000);
  expect(performance.now() - began).toBeGreaterThan(150);
});

test('the same key one after another, also after an error; other keys beside it', async () => {
  const mutex = createKeyedMutex();
  const order: string[] = [];
  const step = (key: string, name: string, ms: number, fail = false) =>
    mutex.run(key, async () => {
      order.push(`${name}<`);
      await new Promise((resolve) => setTimeout(resolve, ms));
      order.push(`${name}>`);
      if (fail) throw new Error(name);
    });
  await Promise.allSettled([step('k', 'a', 20, true), step('k', 'b', 1), step('other', 'c', 1)]);
  expect(order.indexOf('a>')).toBeLessThan(order.indexOf('b<'));
  expect(order.indexOf('c>')).toBeLessThan(order.indexOf('a>'));
});
