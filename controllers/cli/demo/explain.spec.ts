import { describe, expect, it } from 'vitest';
import { explain, type Failure, reasonOf } from './explain.ts';

const kill = { container: 'demo-web-2', from: 1000, to: 1100 };
const failure = (fields: Partial<Failure>): Failure => ({
  sent: 990,
  ended: 1050,
  method: 'POST',
  stage: 'kill',
  reason: 'status 502',
  ...fields,
});

describe('explain', () => {
  it('knows why a request that changes something is lost with its container', () => {
    expect(explain(failure({}), [kill])).toContain('demo-web-2');
    expect(explain(failure({ sent: 1090, ended: 1200 }), [kill])).toContain('demo-web-2');
  });

  it.each([
    ['one that may be sent again', { method: 'GET' as const }],
    ['one that ended before the kill', { sent: 900, ended: 950 }],
    ['one sent long after it', { sent: 2200, ended: 2300 }],
    ['a connection of the client that was reset', { reason: 'reset' }],
    ['an answer of the application', { reason: 'status 500' }],
  ])('excuses nothing else: %s', (_what, fields) => {
    expect(explain(failure(fields), [kill])).toBeUndefined();
  });

  it('excuses nothing when nothing was killed', () => {
    expect(explain(failure({}), [])).toBeUndefined();
  });
});

describe('reasonOf', () => {
  it('says what a person would', () => {
    expect(reasonOf(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }))).toBe('refused');
    expect(reasonOf(Object.assign(new Error('x'), { code: 'ECONNRESET' }))).toBe('reset');
    expect(reasonOf(new Error('x'))).toBe('broken');
    expect(reasonOf(Object.assign(new Error('x'), { code: 'EHOSTUNREACH' }))).toBe('EHOSTUNREACH');
  });
});
