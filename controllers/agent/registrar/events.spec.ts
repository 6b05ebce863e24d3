import { expect, test } from 'vitest';
import { parseEvent } from './events.ts';

const event = (over: object) =>
  JSON.stringify({ Type: 'container', Action: 'start', Actor: { ID: 'abc', Attributes: {} }, timeNano: 2_000_000, ...over });

test('events of containers and of their networks', () => {
  expect(parseEvent(event({}))).toEqual({ action: 'start', container: 'abc', signal: undefined, at: 2 });
  expect(parseEvent(event({ Action: 'health_status: healthy' }))).toMatchObject({ action: 'health_status' });
  expect(parseEvent(event({ Action: 'kill', Actor: { ID: 'abc', Attributes: { signal: '15' } } }))).toMatchObject({ signal: 15 });
  const network = { Type: 'network', Action: 'connect', Actor: { ID: 'net', Attributes: { container: 'def' } } };
  expect(parseEvent(event(network))).toMatchObject({ action: 'connect', container: 'def' });
});

test.each(['', '  ', '{', '[]', '{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{}}}'])('%j is none', (line) => {
  expect(parseEvent(line)).toBeUndefined();
});
