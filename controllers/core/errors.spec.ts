import { describe, expect, it } from 'vitest';
import { AppError, ERROR_CODES, type ErrorCode, errorBody, hasCode, isErrorCode, messageOf, systemCode, toAppError } from '#core/errors.ts';
import { errorFromBody } from '#core/http.ts';

const codes = Object.keys(ERROR_CODES) as ErrorCode[];

describe('AppError', () => {
  it.each(codes)('%s has a failing HTTP status and exit code, and a kind that fits its status', (code) => {
    const error = new AppError(code, 'what is wrong');
    expect(error.status).toBeGreaterThanOrEqual(400);
    expect(error.exit).toBeGreaterThanOrEqual(1);
    // 6 is said of what works, though not fully: never an error's.
    expect(error.exit).toBeLessThanOrEqual(5);
    if (error.user && code !== 'not_implemented') expect(error.status).toBeLessThan(500);
  });

  it.each(codes)('%s survives its way over the wire', (code) => {
    const error = new AppError(code, 'what is wrong', { hint: 'type this', cause: new Error('secret inside') });
    const text = JSON.stringify(errorBody(error));
    const back = errorFromBody({ status: error.status, headers: {}, body: JSON.parse(text) }, 'GET /x');

    expect(back).toMatchObject({ code, message: 'what is wrong', hint: 'type this' });
    expect(text).not.toContain('secret inside');
  });

  it('has no hint in its JSON when it has none', () => {
    expect(JSON.stringify(errorBody(new AppError('usage', 'x')))).toBe('{"error":{"code":"usage","message":"x"}}');
  });
});

describe('toAppError', () => {
  it('leaves an AppError as it is', () => {
    const error = new AppError('conflict', 'x');
    expect(toAppError(error)).toBe(error);
  });

  it.each(['ENOSPC', 'EDQUOT'])('%s is a full disk, with what to do about it', (code) => {
    expect(toAppError(Object.assign(new Error('write'), { code }))).toMatchObject({ code: 'disk_full', hint: expect.any(String) });
  });

  it.each([
    [new Error('boom'), 'boom'],
    ['boom', 'boom'],
    [undefined, 'undefined'],
    [{ a: 1 }, '[object Object]'],
    [null, 'null'],
  ])('takes %s', (thrown, message) => {
    expect(toAppError(thrown)).toMatchObject({ code: 'internal', message });
  });
});

it('says what several errors together say', () => {
  expect(messageOf(new AggregateError([new Error('a'), new Error('b')]))).toBe('a; b');
});

it('knows its codes from names of other things', () => {
  expect(isErrorCode('conflict')).toBe(true);
  for (const value of ['toString', '__proto__', 'constructor', '', 1, undefined]) expect(isErrorCode(value)).toBe(false);
  expect(hasCode(new Error('x'), 'internal')).toBe(false);
  expect(systemCode({ code: 7 })).toBeUndefined();
});
