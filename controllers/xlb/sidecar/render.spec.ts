import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { NginxConfFile } from 'nginx-conf';
import { describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { LbSpec, type Rule } from '#xlb/schema.ts';
import { renderNginx } from './render.ts';
import { httpServers } from './routing.ts';

const limits = { workers: 2, connections: 8192 };

function spec(fields: Record<string, unknown> = {}): LbSpec {
  return LbSpec.parse({
    ...{ v: 1, name: 'web', replicas: 1, network: 'xcaas', publish: [] },
    ...{ listeners: [{ proto: 'http', port: 80 }], groups: [{ name: 'web' }, { name: 'api' }], rules: [{ listen: '*', group: 'web' }] },
    ...fields,
  });
}

/** Every directive with its place, sorted: nginx does not care for the order of different ones, and neither does this. */
function directives(text: string): string[] {
  const found: string[] = [];
  NginxConfFile.createFromSource(text, (error, file) => {
    if (error || file === undefined) throw error ?? new Error('not parsed');
    walk(file.nginx, '');
  });
  return found.sort();

  function walk(item: NginxConfFile['nginx'], path: string): void {
    for (const name of Object.keys(item)) {
      const children = item[name];
      if (!Array.isArray(children)) continue;
      for (const child of children) {
        const place = `${path} > ${name} ${String(child._value)}`.trim();
        found.push(place);
        // Servers are told apart by where they listen and for whom.
        const inside =
          name === 'server'
            ? `${path} > server[${['listen', 'server_name'].map((key) => child[key]?.[0]?._value ?? '').join(' ')}]`
            : place;
        walk(child, inside);
      }
    }
  }
}

describe('renderNginx', () => {
  it('renders what the reference shows', () => {
    const sample = readFileSync(join(import.meta.dirname, '../../../images/xlb/sample.conf'), 'utf8');
    const rendered = renderNginx(
      spec({
        listeners: [
          { proto: 'http', port: 80 },
          { proto: 'https', port: 443 },
        ],
        rules: [
          { listen: 'https:443', group: 'web' },
          { listen: 'http:80', host: 'app.example', group: 'web' },
          { listen: 'http:80', host: 'app.example', path: '/api', group: 'api' },
        ],
      }),
      limits,
    );
    // The reference's own values where the sidecar writes others.
    const text = rendered.text.replace(rendered.generation, 'sample');
    expect(directives(text)).toEqual(directives(sample.replace(/#[^\n]*$/gm, '')));
  });

  it('names a structure by its content', () => {
    expect(renderNginx(spec(), limits)).toEqual(renderNginx(spec(), limits));
    expect(renderNginx(spec({ listeners: [{ proto: 'http', port: 81 }] }), limits).generation).not.toBe(
      renderNginx(spec(), limits).generation,
    );
  });

  it('is not changed by what is pushed to the running nginx', () => {
    const group = { name: 'web', algorithm: 'hash', hashKey: 'uri', services: ['a', 'b'], stickyCookie: 'c', maxFails: 7 };
    const changed = renderNginx(spec({ groups: [group, { name: 'api' }], publish: [{ hostPort: 8080, port: 80 }], replicas: 3 }), limits);
    expect(changed).toEqual(renderNginx(spec(), limits));
  });

  it('leaves tcp listeners to HAProxy', () => {
    const withTcp = spec({
      listeners: [
        { proto: 'http', port: 80 },
        { proto: 'tcp', port: 3306 },
      ],
      rules: [
        { listen: '*', group: 'web' },
        { listen: 'tcp:3306', group: 'api' },
      ],
    });
    expect(renderNginx(withTcp, limits)).toEqual(renderNginx(spec(), limits));
  });

  it('refuses two groups for one place, and a rule without a group', () => {
    const twice = spec({
      rules: [
        { listen: '*', path: '/a', group: 'web' },
        { listen: '*', path: '/a', group: 'api' },
      ],
    });
    expect(() => renderNginx(twice, limits)).toThrow('two rules for any host/a lead to web and api');
    expect(() => renderNginx(spec({ rules: [{ listen: '*', group: 'gone' }] }), limits)).toThrow('does not exist');
  });
});

describe('hostile values', () => {
  const nasty = fc.oneof(
    fc.constantFrom(
      ...[
        'x;',
        '$host',
        '{',
        '}',
        'a b',
        '"',
        "'",
        '\n',
        '\\',
        '#',
        'a\0',
        'é',
        'x; return 200 pwned',
        '/a\n}',
        '/*',
        '*',
        '*.',
        '-',
        '..',
        '',
      ],
      ...[
        'constructor',
        '__proto__',
        'toString',
        '_add',
        'default',
        '/_remove',
        '/a;b',
        '/a{b',
        '/${x}',
        '/a"b',
        '/a b',
        'a.example;',
        '*.a;b',
      ],
    ),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ maxLength: 20 }).map((text) => `/${text}`),
  );
  const baseline = directives(renderNginx(spec(), limits).text).map(shape);

  /** The kind of a directive: its place without values that a specification gives. */
  function shape(place: string): string {
    return place.replace(/> location \/[A-Za-z0-9._~/-]*/g, '> location PATH').replace(/\[80 [^\]]*\]/g, '[80 HOST]');
  }

  it('never reach the file, past the schema', () => {
    fc.assert(
      fc.property(nasty, nasty, nasty, nasty, (host, path, group, listen) => {
        const parsed = LbSpec.safeParse({
          ...{ v: 1, name: 'web', replicas: 1, network: 'xcaas', publish: [], listeners: [{ proto: 'http', port: 80 }] },
          groups: [{ name: 'web' }, { name: group }],
          rules: [
            { listen: '*', group: 'web' },
            { listen: '*', host, path, group },
            { listen, host, path: '/', group: 'web' },
          ],
        });
        if (!parsed.success) return;
        const text = renderNginx(parsed.data, limits).text;
        expect(text).not.toMatch(/[;{}] *\S*pwned/);
        expect(
          directives(text)
            .map(shape)
            .filter((place) => !isKnownShape(place)),
        ).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('never reach the file, even when the schema were passed by', () => {
    const fields = ['host', 'path', 'group'] as const;
    fc.assert(
      fc.property(nasty, fc.constantFrom(...fields), (value, field) => {
        const rule = { listen: '*', path: '/x', group: 'web', host: 'a.example', [field]: value } as Rule;
        const groups = [...spec().groups, { ...spec().groups[0]!, name: rule.group }];
        let text: string;
        try {
          text = renderNginx({ ...spec(), groups, rules: [...spec().rules, rule] }, limits).text;
        } catch (error) {
          expect(hasCode(error, 'config_rejected')).toBe(true);
          return;
        }
        expect(
          directives(text)
            .map(shape)
            .filter((place) => !isKnownShape(place)),
        ).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('that are no numbers are refused', () => {
    for (const value of [Number.NaN, -1, 1.5, Infinity, '1; x' as unknown as number]) {
      expect(() => renderNginx({ ...spec(), options: { ...spec().options, readTimeoutMs: value } }, limits)).toThrow('not a whole number');
      expect(() => renderNginx({ ...spec(), listeners: [{ proto: 'http', port: value }] }, limits)).toThrow('not a whole number');
    }
  });

  function isKnownShape(place: string): boolean {
    return (
      baseline.includes(place) ||
      place === '> http > server' ||
      /^> http > server\[80 HOST\] > (listen 80|server_name [a-z0-9.*-]+|location PATH)$/.test(place) ||
      /^> http > server\[80 HOST\] > location PATH > (set \$xlb_group [a-z0-9-]+|proxy_pass http:\/\/xlb_peers|return 404)$/.test(place) ||
      /^> http > server\[unix:[^\]]*\] > location PATH > set \$xlb_generation [0-9a-f]{16}$/.test(place)
    );
  }
});

describe('routing', () => {
  const hosts = [undefined, 'a.example', 'b.a.example', '*.example', '*.a.example'] as const;
  const paths = ['/', '/a', '/a/', '/a/b', '/b', '/ab'] as const;

  /** What the words of the specification mean: the most specific host wins, then the longest path. */
  function meaning(rules: readonly Rule[], host: string, path: string): string | undefined {
    const rank = (pattern: string | undefined) => (pattern === undefined ? 0 : pattern.startsWith('*.') ? pattern.length : 1000);
    const matching = rules.filter(
      (rule) =>
        path.startsWith(rule.path) &&
        (rule.host === undefined || rule.host === host || (rule.host.startsWith('*.') && host.endsWith(rule.host.slice(1)))),
    );
    matching.sort((a, b) => rank(b.host) - rank(a.host) || b.path.length - a.path.length);
    return matching[0]?.group;
  }

  /** What nginx does with servers and locations. */
  function nginx(plans: ReturnType<typeof httpServers>, host: string, path: string): string | undefined {
    const wildcards = plans.filter((plan) => plan.host?.startsWith('*.') && host.endsWith(plan.host.slice(1)));
    wildcards.sort((a, b) => b.host!.length - a.host!.length);
    const server = plans.find((plan) => plan.host === host) ?? wildcards[0] ?? plans.find((plan) => plan.host === undefined)!;
    const locations = server.routes.filter((route) => path.startsWith(route.path)).toSorted((a, b) => b.path.length - a.path.length);
    return locations[0]?.group;
  }

  it('gives each request to the group that the words of the rules say', () => {
    const rule = fc.record({
      listen: fc.constant('*'),
      host: fc.constantFrom(...hosts),
      path: fc.constantFrom(...paths),
      group: fc.constant(''),
    });
    fc.assert(
      fc.property(fc.uniqueArray(rule, { selector: (r) => `${r.host}${r.path}`, maxLength: 12 }), (drawn) => {
        const rules = drawn.map((r, index) => ({ ...r, group: `g${index}` }));
        const plans = httpServers(spec({ groups: rules.map((r) => ({ name: r.group })), rules }));
        for (const host of ['a.example', 'b.a.example', 'c.a.example', 'z.example', 'other.test', 'example']) {
          for (const path of ['/', '/a', '/a/b/c', '/abc', '/b/x', '/z']) expect(nginx(plans, host, path)).toBe(meaning(rules, host, path));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('prefers the rule of a listener over that of all listeners', () => {
    const rules = [
      { listen: '*', path: '/', group: 'web' },
      { listen: 'http:80', path: '/', group: 'api' },
    ];
    const listeners = [
      { proto: 'http', port: 80 },
      { proto: 'http', port: 81 },
    ];
    expect(httpServers(spec({ rules, listeners })).map((plan) => plan.routes[0]?.group)).toEqual(['api', 'web']);
  });
});
