import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseServiceLabels } from './labels.ts';

describe('service labels', () => {
  test('a name alone takes the only exposed port', () => {
    expect(parseServiceLabels({ 'xcaas.service': 'web' }, [8080])).toEqual({
      services: [{ name: 'web', port: 8080, tags: [], weight: 100, network: undefined, check: 'health' }],
      problems: [],
    });
  });

  test('several services, common options and options of one', () => {
    const labels = {
      'xcaas.service': 'web:8080, admin:9090',
      'xcaas.service.tags': 'a, b',
      'xcaas.service.weight': '50',
      'xcaas.service.admin.weight': '1',
      'xcaas.service.network': 'backend',
      'xcaas.service.admin.check': 'running',
      other: 'label',
    };
    const { services, problems } = parseServiceLabels(labels, []);
    expect(problems).toEqual([]);
    expect(services).toEqual([
      { name: 'web', port: 8080, tags: ['a', 'b'], weight: 50, network: 'backend', check: 'health' },
      { name: 'admin', port: 9090, tags: ['a', 'b'], weight: 1, network: 'backend', check: 'running' },
    ]);
  });

  test.each([
    [{ 'xcaas.service': 'web' }, [], /names no port and the image exposes none/],
    [{ 'xcaas.service': 'web' }, [80, 443], /exposes 80, 443/],
    [{ 'xcaas.service': 'web:0' }, [], /"0" is no port/],
    [{ 'xcaas.service': 'web:70000' }, [], /is no port/],
    [{ 'xcaas.service': 'we b:80' }, [], /a name is letters/],
    [{ 'xcaas.service': '' }, [80], /a name is letters/],
    [{ 'xcaas.service': 'web:80:90' }, [], /use NAME or NAME:PORT/],
    [{ 'xcaas.service': 'web:80', 'xcaas.service.weight': '0' }, [], /between 1 and 1000/],
    [{ 'xcaas.service': 'web:80', 'xcaas.service.check': 'http:/' }, [], /check=http:\/ is not one of/],
    [{ 'xcaas.service': 'web:80', 'xcaas.service.tags': 'a;b' }, [], /the tag "a;b"/],
    [{ 'xcaas.service': 'web:80,web:80' }, [], /is there twice/],
  ])('%j is said to be wrong', (labels, exposed, message) => {
    const { services, problems } = parseServiceLabels(labels as Record<string, string>, exposed);
    expect(problems.join()).toMatch(message);
    expect(services.length).toBeLessThanOrEqual(1);
  });

  test('an unknown option and options without a name are pointed at', () => {
    expect(parseServiceLabels({ 'xcaas.service': 'web:80', 'xcaas.service.wieght': '5' }, []).problems).toEqual([
      expect.stringContaining('xcaas.service.wieght is not understood'),
    ]);
    expect(parseServiceLabels({ 'xcaas.service.port': '80' }, []).problems).toEqual([expect.stringContaining('stands without')]);
  });

  test('whatever the labels hold, nothing is thrown and what comes out is sound', () => {
    const key = fc.oneof(
      fc.constant('xcaas.service'),
      fc.constantFrom('port', 'tags', 'weight', 'check', 'network').map((o) => `xcaas.service.${o}`),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.dictionary(key, fc.string()), fc.array(fc.integer({ min: 1, max: 65535 })), (labels, exposed) => {
        for (const service of parseServiceLabels(labels, exposed).services) {
          expect(service.port).toBeGreaterThan(0);
          expect(service.name).toMatch(/^[A-Za-z0-9]/);
          expect(service.weight).toBeGreaterThan(0);
        }
      }),
    );
  });
});
