import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { createLogger } from '#core/log.ts';

const SECRET = 'hunter2-xyz';

function logged(fields: Record<string, unknown>): { text: string; line: Record<string, unknown> } {
  let text = '';
  const destination = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  createLogger({ name: 'test', level: 'info', destination }).info(fields, 'it happened');
  return { text, line: JSON.parse(text) };
}

it('is a JSON line with a time, a level in words and a static message', () => {
  const { line } = logged({ object: 'lb/web', count: 2, list: ['a'], at: new Date(0), none: undefined });
  expect(line).toMatchObject({
    level: 'info',
    name: 'test',
    msg: 'it happened',
    object: 'lb/web',
    count: 2,
    list: ['a'],
    at: '1970-01-01T00:00:00.000Z',
  });
  expect(line.time).toMatch(/^\d{4}-.*Z$/);
});

it.each([
  ['at the top', { token: SECRET }],
  ['deep', { a: { b: { c: { d: { password: SECRET } } } } }],
  ['in lists', { members: [{ secrets: { root: SECRET } }] }],
  ['in any case', { headers: { Authorization: SECRET, 'X-Consul-Token': SECRET } }],
  ['as bytes', { pool: Buffer.from(SECRET) }],
  ['in a URL', { master: `mysql://repl:${SECRET}@db.example.org:3306/x` }],
  ['in fields of an error', { err: Object.assign(new Error('no'), { config: { headers: { authorization: SECRET } } }) }],
  ['in the URL of an error', { err: new Error(`connect mysql://repl:${SECRET}@db failed`) }],
  ['in something that knows its JSON', { body: { toJSON: () => ({ key: SECRET }) } }],
])('tells no secret %s', (_, fields) => {
  const { text } = logged(fields);
  expect(text).not.toContain(SECRET);
  expect(text).not.toContain(JSON.stringify([...Buffer.from(SECRET)]).slice(1, -1));
});

it('keeps what an error says', () => {
  const { line } = logged({ err: new AppError('conflict', 'two masters', { hint: 'wait', cause: new Error('inner') }) });
  expect(line.err).toMatchObject({ type: 'AppError', code: 'conflict', hint: 'wait', message: expect.stringContaining('two masters') });
  expect((line.err as { stack: string }).stack).toContain('log.spec');
});

it('survives what refers to itself, and what is large', () => {
  const loop: Record<string, unknown> = { name: 'x' };
  loop.self = loop;
  expect(logged({ loop, socket: process.stdout }).line).toMatchObject({ socket: expect.stringMatching(/^\[/) });
});
