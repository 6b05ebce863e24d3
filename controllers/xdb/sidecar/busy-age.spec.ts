import { expect, it } from 'vitest';
import type { EngineFacts } from '#xdb/engine/engine.ts';
import { createBusyAge } from './busy-age.ts';

it('a slave is behind since it was last seen to have everything, and from the beginning until then', () => {
  let now = 0;
  const age = createBusyAge(() => now);
  const look = (receiving: boolean, { io = 'running', host = 'a', instance = 'i' } = {}) =>
    age({ instance, slave: { io, receiving, masterHost: host, masterPort: 3305 } as NonNullable<EngineFacts['slave']> });
  expect(look(true)).toBe(Number.POSITIVE_INFINITY);
  expect(look(false)).toBe(0);
  now = 700;
  expect(look(true)).toBe(700);
  now = 900;
  expect(look(false)).toBe(0);
  now = 1000;
  expect(look(true)).toBe(100);
  // Another master, another connection, another start: all of them may have more.
  expect(look(true, { host: 'b' })).toBe(Number.POSITIVE_INFINITY);
  expect(look(false)).toBe(0);
  expect(look(true, { io: 'connecting' })).toBe(0);
  expect(look(true)).toBe(Number.POSITIVE_INFINITY);
  expect(look(false)).toBe(0);
  expect(look(true, { instance: 'j' })).toBe(Number.POSITIVE_INFINITY);
  expect(age({ instance: 'i' })).toBe(0);
});
