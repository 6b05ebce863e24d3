import { describe, expect, it } from 'vitest';
import { parseMasterUrl } from './url.ts';

describe('parseMasterUrl', () => {
  it.each([
    ['mysql://mig:pw@old.example:3307', { host: 'old.example', port: 3307, user: 'mig', password: 'pw', database: undefined }],
    ['mysql://mig:p%40s%2Fs@10.0.0.9/shop', { host: '10.0.0.9', port: 3306, user: 'mig', password: 'p@s/s', database: 'shop' }],
    ['mariadb://mig@[fd00::2]:3306/', { host: 'fd00::2', port: 3306, user: 'mig', password: '', database: undefined }],
  ])('reads %s', (text, read) => {
    expect(parseMasterUrl(text)).toEqual(read);
  });

  it.each([
    ['no URL', 'geheim', 'usage'],
    ['another protocol', 'postgres://mig:geheim@h', 'usage'],
    ['no user', 'mysql://:geheim@h', 'usage'],
    ['no host', 'mysql://mig:geheim@/x', 'usage'],
    ['what a URL of ours has not', 'mysql://mig:geheim@h/shop?ssl=1', 'usage'],
    ['a broken escape', 'mysql://mig:geheim%zz@h', 'usage'],
    ['a port that is none', 'mysql://mig:geheim@h:0', 'invalid'],
    ['the member itself', 'mysql://mig:geheim@localhost:3306', 'invalid'],
    ['the member itself by address', 'mysql://mig:geheim@127.0.0.1', 'invalid'],
    ['a database that no user can be given', 'mysql://mig:geheim@h/Odd%20one', 'invalid'],
  ])('refuses %s, and does not repeat what is secret', (_, text, code) => {
    let error: unknown;
    try {
      parseMasterUrl(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/./) });
    const { message, hint } = error as { message: string; hint: string };
    expect(`${message} ${hint}`).not.toContain('geheim');
  });
});
