import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { generationIn, generationOf, renderConfig } from '#tcp/config.ts';
import { TcpConfig, TcpTable } from '#tcp/schema.ts';

const runtimeSocket = '/run/xlb/haproxy.sock';
const config = TcpConfig.parse({
  listeners: [
    { port: 3306, backend: 'rw' },
    { port: 3307, backend: 'ro', address: '127.0.0.1' },
  ],
  backends: [
    { name: 'rw', onMarkedDown: 'shutdown-sessions', onRemoved: 'cut' },
    { name: 'ro', algorithm: 'hash', maxFails: 3, check: { type: 'http', path: '/health' } },
  ],
});
const table = TcpTable.parse({
  backend: 'rw',
  version: 1,
  peers: [
    { id: 'db-1', address: '10.0.0.1', port: 3310 },
    { id: 'db-2', address: '2001:DB8::0:2', port: 3310, state: 'down', weight: 7 },
  ],
});

describe('haproxy.cfg', () => {
  it('holds the structure and the peers of the tables', () => {
    const text = renderConfig(config, { runtimeSocket, tables: [table] });
    expect(text).toContain('frontend fe.3306.any\n    bind *:3306\n    default_backend be.rw\n');
    expect(text).toContain('    bind 127.0.0.1:3307\n');
    expect(text).toContain('    server db-1 10.0.0.1:3310 weight 100 on-marked-down shutdown-sessions\n');
    expect(text).toContain('    server db-2 [2001:db8::2]:3310 weight 7 on-marked-down shutdown-sessions disabled\n');
    expect(text).toContain('    hash-type consistent wt6 avalanche\n');
    expect(text).toContain('    http-check send meth GET uri /health ver HTTP/1.1 hdr Host xcaas\n');
  });

  it('has one generation a structure, whatever the tables', () => {
    const generation = generationOf(config, { runtimeSocket });
    for (const tables of [[], [table]])
      expect(renderConfig(config, { runtimeSocket, tables })).toContain(`description xcaas-${generation}\n`);
    expect(generationOf({ ...config, idleTimeoutMs: 1234 }, { runtimeSocket })).not.toBe(generation);
    expect(generationIn(`xcaas-${generation}`)).toBe(generation);
    expect(generationIn('somebody else')).toBeUndefined();
  });

  it('refuses a path that is not one word', () => {
    expect(() => renderConfig(config, { runtimeSocket: '/run/a b' })).toThrowError(expect.toSatisfy((error) => hasCode(error, 'internal')));
  });

  it('lets nothing into the file that is not a word of the whitelist, whatever it is given', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        'x\n    server evil 6.6.6.6:1',
        'a;b',
        'a b',
        '"',
        "'",
        '$HOME',
        '%[env(HOME)]',
        '#',
        '\\',
        '/../x',
        'web',
        '10.0.0.1',
        '::1',
      ),
    );
    const input = fc.record({
      config: fc.record({
        listeners: fc.constant([{ port: 1, backend: 'web' }]),
        backends: fc.tuple(
          fc.record({
            name: fc.oneof(fc.constant('web'), hostile),
            check: fc.oneof(fc.constant('none'), fc.record({ type: fc.constant('http'), path: hostile })),
          }),
        ),
      }),
      table: fc.record({
        backend: fc.oneof(fc.constant('web'), hostile),
        version: fc.constant(1),
        peers: fc.tuple(fc.record({ id: hostile, address: fc.oneof(fc.constant('10.0.0.1'), hostile), port: fc.constant(80) })),
      }),
    });
    let rendered = 0;
    fc.assert(
      fc.property(input, (given) => {
        const parsed = TcpConfig.safeParse(given.config);
        const peers = TcpTable.safeParse(given.table);
        if (!parsed.success) return;
        const tables = peers.success ? [peers.data] : [];
        const text = renderConfig(parsed.data, { runtimeSocket, tables });
        rendered += 1;
        // The shape is that of a harmless one: as many lines, each word from the alphabet.
        const expected = text.split('\n').filter((line) => /^ {4}server /.test(line)).length;
        expect(expected).toBe(tables[0]?.backend === parsed.data.backends[0]?.name ? 1 : 0);
        for (const line of text.split('\n')) expect(line).toMatch(/^( {4})?([A-Za-z0-9._:/*[\]~-]+( [A-Za-z0-9._:/*[\]~-]+)*)?$/);
      }),
      { numRuns: 2000 },
    );
    expect(rendered).toBeGreaterThan(20);
  });
});
