import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseHealth } from '#core/consul/client.ts';
import { createHealthReader } from './health-reader.ts';

const entry = (id: string, output = '', status = 'passing') => ({
  Node: { ID: 'n', Node: 'host', Address: '10.0.0.1', Meta: {} },
  Service: { ID: id, Service: 'web', Tags: [], Address: '10.1.0.1', Port: 80, Meta: { name: output }, Weights: { Passing: 1, Warning: 1 } },
  Checks: [
    { Node: 'host', CheckID: 'serfHealth', Status: 'passing', ServiceID: '', Output: output },
    { Node: 'host', CheckID: `${id}-check`, Status: status, ServiceID: id, Output: output },
  ],
});
const answer = (body: unknown, space?: number) => ({ body, text: `${JSON.stringify(body, undefined, space)}\n` });

it('reads what the whole answer says, whatever stands in it', () => {
  const hostile = fc.oneof(fc.string(), fc.constantFrom('},{"Node":{', '"},{"Node":{"ID":"', '\\"},{\\"Node\\":{', '}]', '[{"Node":{'));
  const entries = fc.array(fc.tuple(hostile, hostile, fc.constantFrom('passing', 'critical')), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(entries, { minLength: 1, maxLength: 4 }), fc.constantFrom(undefined, 2), (answers, space) => {
      const read = createHealthReader();
      for (const one of answers) {
        const body = one.map(([id, output, status]) => entry(id, output, status));
        expect(read(answer(body, space))).toEqual(parseHealth(body));
      }
    }),
  );
});

it('keeps what has not changed', () => {
  const read = createHealthReader();
  const before = read(answer([entry('a'), entry('b'), entry('c')]));
  const after = read(answer([entry('a'), entry('b', '', 'critical'), entry('c')]));
  expect(after[0]).toBe(before[0]);
  expect(after[1]).not.toBe(before[1]);
  expect(after[1]?.checks[1]?.status).toBe('critical');
  expect(after[2]).toBe(before[2]);
});

it('says what is wrong as the whole answer does', () => {
  const body = [entry('a'), { Node: { Node: 'host' } }];
  expect(() => createHealthReader()(answer(body))).toThrow();
});
