import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backendOf, peerIdOf, proxyName, serverName } from '#tcp/names.ts';

const printable = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 128,
});

describe('names inside HAProxy', () => {
  it('keeps a Consul service id readable', () => {
    expect(serverName('xcaas:9f0c:0123456789ab:web-1:80')).toBe('xcaas:9f0c:0123456789ab:web-1:80');
    expect(serverName('a_b/c;d')).toBe('a_5fb_2fc_3bd');
  });

  it('maps every id onto the alphabet of identifiers and back', () => {
    fc.assert(
      fc.property(printable, (id) => {
        expect(serverName(id)).toMatch(/^[A-Za-z0-9_.:-]+$/);
        expect(peerIdOf(serverName(id))).toBe(id);
      }),
    );
  });

  it('knows its own backends', () => {
    expect(backendOf(proxyName('8080'))).toBe('8080');
    expect(backendOf('GLOBAL')).toBeUndefined();
  });
});
