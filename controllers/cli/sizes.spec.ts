import { describe, expect, it } from 'vitest';
import { parseCpus, parseMoment, parsePast, parseSeconds, parseSize } from '#cli/sizes.ts';

const GIB = 2 ** 30;
const refused = (action: () => unknown) =>
  expect(action).toThrow(expect.objectContaining({ code: 'usage', message: expect.stringContaining('--x') }));

describe('sizes', () => {
  it.each([
    ['4', 4 * GIB],
    ['100', 100 * GIB],
    ['0.5', GIB / 2],
    ['512m', GIB / 2],
    ['4g', 4 * GIB],
    ['4GiB', 4 * GIB],
    ['4GB', 4 * GIB],
    ['1.5t', 1536 * GIB],
    ['64k', 65_536],
  ])('%s', (text, bytes) => expect(parseSize(text, '--x')).toBe(bytes));

  it.each(['', '0', '-1', 'lots', '4 4', '1e3', '4p', '999999999999t'])('%j is none', (text) => refused(() => parseSize(text, '--x')));

  it('what is not given is nothing', () => {
    expect(parseSize(undefined, '--x')).toBeUndefined();
    expect(parseCpus(undefined, '--x')).toBeUndefined();
    expect(parseMoment(undefined, '--x')).toBeUndefined();
  });
});

describe('CPUs', () => {
  it.each([
    ['2', 2],
    ['0', 0],
    ['0.5', 0.5],
  ])('%s', (text, cpus) => expect(parseCpus(text, '--x')).toBe(cpus));
  it.each(['', '-1', 'two', '1.2.3', '12345'])('%j is none', (text) => refused(() => parseCpus(text, '--x')));
});

describe('times', () => {
  it.each([
    ['90', 90],
    ['90s', 90],
    ['30m', 1800],
    ['2h', 7200],
    ['1d', 86_400],
  ])('%s', (text, seconds) => expect(parseSeconds(text, '--x')).toBe(seconds));
  it.each(['', 'ever', '1w', '-1h'])('%j is none', (text) => refused(() => parseSeconds(text, '--x')));

  const now = new Date('2026-01-31T12:00:00Z');
  it.each([
    ['2026-02-01T03:00:00Z', '2026-02-01T03:00:00.000Z'],
    ['2026-02-01T03:00:00+02:00', '2026-02-01T01:00:00.000Z'],
    ['03:00', '2026-02-01T03:00:00.000Z'],
    ['12:01', '2026-01-31T12:01:00.000Z'],
    ['12:00', '2026-02-01T12:00:00.000Z'],
    ['+30m', '2026-01-31T12:30:00.000Z'],
  ])('the moment %s', (text, moment) => expect(parseMoment(text, '--x', now)).toBe(moment));
  it.each(['soon', '25:00', '2026-13-01T00:00:00Z', '+soon', '2026'])('%j is no moment', (text) =>
    refused(() => parseMoment(text, '--x', now)),
  );

  it.each([
    ['2026-01-30T03:00:00Z', '2026-01-30T03:00:00.000Z'],
    ['2026-01-30T03:00:07+02:00', '2026-01-30T01:00:07.000Z'],
    ['11:59', '2026-01-31T11:59:00.000Z'],
    ['12:00:00', '2026-01-31T12:00:00.000Z'],
    ['12:00:01', '2026-01-30T12:00:01.000Z'],
    ['-30m', '2026-01-31T11:30:00.000Z'],
  ])('the moment that was %s', (text, moment) => expect(parsePast(text, '--x', now)).toBe(moment));
  it.each(['yesterday', '25:00', '2026-01-30T03:00:00', '2026-13-01T00:00:00Z', '-soon', '+30m'])('%j was no moment', (text) =>
    refused(() => parsePast(text, '--x', now)),
  );
});
