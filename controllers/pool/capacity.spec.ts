import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capacityOf, freeOf, GROUND_RESERVE, isBound, showBytes, sumReserved, unboundCpus } from '#pool/capacity.ts';
import { formatCpuset, parseCpuset } from '#pool/cpuset.ts';
import { testHost } from '#test/pool-hosts.ts';

describe('capacity', () => {
  it('keeps the ground its share and never gives less than nothing', () => {
    const host = testHost(1, { cpus: 4, memoryGib: 8 });
    expect(capacityOf(host.facts)).toMatchObject({ cpus: 4, memoryBytes: 8 * 2 ** 30 - GROUND_RESERVE.memoryBytes });
    const reserved = { cpus: 5, memoryBytes: 2 ** 40, diskBytes: 0 };
    expect(freeOf({ ...host, reserved })).toMatchObject({ cpus: 0, memoryBytes: 0 });
    expect(freeOf({ facts: undefined, reserved })).toEqual({ cpus: 0, memoryBytes: 0, diskBytes: 0 });
  });

  it('adds up fractions of CPUs without drift', () => {
    expect(sumReserved(Array.from({ length: 10 }, () => ({ cpus: 0.1, memoryBytes: 1, diskBytes: 2 })))).toEqual({
      cpus: 1,
      memoryBytes: 10,
      diskBytes: 20,
    });
  });

  it('binds whole CPUs only', () => {
    expect([0, 0.5, 1, 1.5, 2].map(isBound)).toEqual([false, false, true, false, true]);
    expect(unboundCpus({ cpus: 4 }, [{ cpuset: '0-1' }, { cpuset: undefined }, { cpuset: '3' }])).toEqual([2]);
  });

  it('shows sizes rounded down', () => {
    expect([0, 1023, 1024, 2.19 * 2 ** 30, 4 * 2 ** 30 - 1].map(showBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1 KiB',
      '2.1 GiB',
      '3.9 GiB',
    ]);
  });
});

describe('cpuset', () => {
  it('is the same after a round trip', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(200), { minLength: 1 }), (cpus) => {
        expect(parseCpuset(formatCpuset(cpus))).toEqual([...cpus].sort((a, b) => a - b));
      }),
    );
    expect(formatCpuset([4, 0, 1, 2])).toBe('0-2,4');
    expect(formatCpuset([])).toBe('');
  });

  it.each(['', '1-', '2-1', 'a', '0,,1', '-1'])('refuses "%s"', (text) => {
    expect(() => parseCpuset(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });
});
