import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantile, Recorder, reasonOf } from './report.ts';

describe('Recorder', () => {
  it('accounts for every request and finds the longest time without a success', () => {
    const recorder = new Recorder(1000, Date.UTC(2026, 0, 1));
    for (const at of [1010, 1020, 1500, 1510]) {
      recorder.sent();
      recorder.ok(at, { latencyMs: at === 1500 ? 480 : 5, status: 200, server: 'a' });
    }
    recorder.sent();
    recorder.failed(1200, { reason: 'refused', message: 'connect ECONNREFUSED', elapsedMs: 1 });
    const report = recorder.report(1600);
    expect(report).toMatchObject({
      sent: 5,
      ok: 4,
      failed: 1,
      byReason: { refused: 1 },
      byStatus: { 200: 4 },
      byServer: { a: 4 },
      longestGapMs: 480,
    });
    expect(report.longestGapAt).toBe('2026-01-01T00:00:00.020Z');
    expect(report.failures).toEqual([
      { time: '2026-01-01T00:00:00.200Z', atMs: 200, reason: 'refused', message: 'connect ECONNREFUSED', elapsedMs: 1 },
    ]);
    expect(report.latency).toMatchObject({ p50: 5, max: 480 });
  });

  it('counts the time before the first and after the last success', () => {
    const recorder = new Recorder(0, 0);
    expect(recorder.report(700)).toMatchObject({ longestGapMs: 700, ok: 0 });
    recorder.ok(800, { latencyMs: 1 });
    expect(recorder.report(900).longestGapMs).toBe(800);
    expect(recorder.report(2000)).toMatchObject({ longestGapMs: 1200, longestGapAt: '1970-01-01T00:00:00.800Z' });
  });
});

describe('quantile', () => {
  it('is a value that at least this share does not exceed', () => {
    const sorted = fc.array(fc.double({ noNaN: true }), { minLength: 1 }).map((values) => Float64Array.from(values).sort());
    fc.assert(
      fc.property(sorted, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const found = quantile(values, q);
        expect(values).toContain(found);
        expect(values.filter((value) => value <= found).length).toBeGreaterThanOrEqual(q * values.length - 1e-9);
      }),
    );
    expect(quantile([], 0.5)).toBe(0);
  });
});

describe('reasonOf', () => {
  it.each([
    [Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }), 'refused'],
    [Object.assign(new Error('read'), { code: 'ECONNRESET' }), 'reset'],
    [Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }), 'closed'],
    [Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }), 'dns'],
    [Object.assign(new Error('unable to verify'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }), 'tls'],
    [Object.assign(new Error('odd'), { code: 'EODD' }), 'eodd'],
    ['text', 'error'],
  ])('%s is %s', (error, word) => {
    expect(reasonOf(error)).toBe(word);
  });
});
