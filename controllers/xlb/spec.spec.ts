import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { parseListener, parsePublish } from '#xlb/listeners.ts';
import { LbSpec } from '#xlb/schema.ts';
import { applySettings, duration, size } from '#xlb/settings.ts';
import {
  addListener,
  addService,
  createDifference,
  ensureRoute,
  ensureRule,
  newSpec,
  removeListener,
  removeRule,
  removeService,
} from '#xlb/spec.ts';

const web = (listen: string[] = ['http:80'], publish: string[] = []) =>
  newSpec({ name: 'web', replicas: 2, network: 'xcaas', listeners: listen.map(parseListener), publish: publish.map(parsePublish) });

const code = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
};

describe('a specification', () => {
  it('begins with a group for all http and one for each tcp listener', () => {
    const spec = web(['http:80', 'https:443', 'tcp:3306']);

    expect(spec.groups.map((group) => group.name)).toEqual(['default', 'tcp-3306']);
    expect(spec.rules).toEqual([
      { listen: '*', path: '/', group: 'default' },
      { listen: 'tcp:3306', path: '/', group: 'tcp-3306' },
    ]);
    expect(spec.groups[0]?.services).toEqual(['xlb-web-default']);
  });

  it('refuses a port that is taken', () => {
    expect(code(() => addListener(web(), { proto: 'tcp', port: 80 }))).toBe('port_taken');
    expect(code(() => web(['http:80', 'https:80']))).toBe('port_taken');
  });

  it('refuses to publish what it does not listen on', () => {
    expect(code(() => web(['http:80'], ['8080:81']))).toBe('invalid');
    expect(code(() => web(['http:80'], ['8080:80', '8080:80']))).toBe('port_taken');
  });

  it('loses with a listener its group, rules and published ports', () => {
    const spec = removeListener(web(['http:80', 'tcp:3306'], ['8080:80', '3306:3306']), { proto: 'tcp', port: 3306 });

    expect(spec.groups.map((group) => group.name)).toEqual(['default']);
    expect(spec.publish).toEqual([{ hostPort: 8080, port: 80 }]);
    expect(code(() => removeListener(spec, { proto: 'tcp', port: 3306 }))).toBe('not_found');
  });

  it('keeps the common group while one http listener is left', () => {
    const spec = removeListener(web(['http:80', 'https:443']), { proto: 'http', port: 80 });

    expect(spec.rules).toEqual([{ listen: '*', path: '/', group: 'default' }]);
  });

  it('makes a group for each host and path, once', () => {
    const first = ensureRoute(web(), { host: 'a.example', path: '/api' });
    const again = ensureRoute(first.spec, { host: 'a.example', path: '/api' });

    expect(first.group).toMatch(/^a-example-api-[0-9a-f]{6}$/);
    expect(again.spec).toBe(first.spec);
    expect(again.group).toBe(first.group);
    expect(LbSpec.safeParse(first.spec).success).toBe(true);
  });

  it('gives a tcp listener no hosts and asks which one where there are several', () => {
    expect(code(() => ensureRoute(web(['tcp:1']), { listen: 'tcp:1', host: 'a.example' }))).toBe('invalid');
    expect(code(() => ensureRoute(web(['tcp:1', 'tcp:2']), {}))).toBe('usage');
    expect(ensureRoute(web(['tcp:1']), {}).group).toBe('tcp-1');
    expect(code(() => ensureRoute(web(), { listen: 'http:81' }))).toBe('not_found');
  });

  it('refuses a second group for a route that has one', () => {
    const spec = ensureRule(web(), { listen: '*', host: 'a.example', path: '/', group: 'a' });

    expect(code(() => ensureRule(spec, { listen: '*', host: 'a.example', path: '/', group: 'b' }))).toBe('conflict');
    expect(removeRule(spec, { host: 'a.example' }).groups.map((group) => group.name)).toEqual(['default']);
  });

  it('links a service once and never unlinks its own', () => {
    const spec = addService(addService(web(), 'default', 'shop'), 'default', 'shop');

    expect(spec.groups[0]?.services).toEqual(['xlb-web-default', 'shop']);
    expect(removeService(spec, 'shop').groups[0]?.services).toEqual(['xlb-web-default']);
    expect(code(() => removeService(spec, 'xlb-web-default'))).toBe('not_found');
  });

  it('says what differs', () => {
    expect(createDifference(web(), web())).toEqual([]);
    expect(createDifference(web(), web(['http:81']))).toEqual(['listeners: http:81 instead of http:80']);
  });

  it('takes no hostile text for a listener, a route or a setting', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        const attempts = [
          () => parseListener(text),
          () => parsePublish(text),
          () => applySettings(web(), { [text]: '1' }),
          () => applySettings(web(), { 'default.hash-key': text }),
          () => applySettings(web(), { 'default.check.path': text }),
        ];
        for (const attempt of attempts) {
          try {
            const made = attempt();
            expect(JSON.stringify(made)).not.toMatch(/[;{}$](?=[^"{}[\]]*"(?:[,}\]]))/);
          } catch (error) {
            expect(error).toBeInstanceOf(AppError);
          }
        }
      }),
    );
  });
});

describe('settings', () => {
  it('reach the load balancer or one of its groups', () => {
    const spec = applySettings(web(), {
      'read-timeout': '30s',
      'max-body': '10m',
      'default.algorithm': 'least_conn',
      'default.check.interval': '500ms',
      'default.sticky-cookie': 'route',
    });

    expect(spec.options).toMatchObject({ readTimeoutMs: 30_000, maxBodyBytes: 10 * 2 ** 20 });
    expect(spec.groups[0]).toMatchObject({ algorithm: 'least_conn', stickyCookie: 'route', active: { intervalMs: 500, fall: 2 } });
  });

  it.each([
    [{ 'no-such': '1' }, 'usage'],
    [{ 'rate-limit': '10' }, 'not_implemented'],
    [{ 'default.slow-start': '10s' }, 'not_implemented'],
    [{ 'read-timeout': '30' }, 'usage'],
    [{ 'read-timeout': '0s' }, 'invalid'],
    [{ 'default.algorithm': 'magic' }, 'invalid'],
    [{ 'other.algorithm': 'hash' }, 'not_found'],
    [{ 'default.tries': '-1' }, 'usage'],
    [{ constructor: '1' }, 'usage'],
    [{ 'default.constructor': '1' }, 'usage'],
  ])('%j is refused as %s', (settings, expected) => {
    expect(code(() => applySettings(web(), settings as unknown as Record<string, string>))).toBe(expected);
  });

  it('reads times and sizes', () => {
    expect([duration('500ms', 'x'), duration('2m', 'x')]).toEqual([500, 120_000]);
    expect([size('0', 'x'), size('512k', 'x'), size('1G', 'x')]).toEqual([0, 524_288, 2 ** 30]);
  });
});
