import { describe, expect, it } from 'vitest';
import type { AppError } from '#core/errors.ts';
import { openStore, parseStore, shownStore, splitStore } from './url.ts';

describe('the place for backups', () => {
  it('is a volume, S3 or WebHDFS', () => {
    expect(parseStore('volume')).toEqual({ kind: 'volume' });
    expect(parseStore('s3://AK:s%2Fk@minio.lan:9000/backups/team/a?tls=off&region=eu-1')).toEqual({
      kind: 's3',
      endpoint: 'http://minio.lan:9000',
      bucket: 'backups',
      prefix: 'team/a/',
      region: 'eu-1',
      credentials: { user: 'AK', secret: 's/k' },
    });
    expect(parseStore('s3://store.example/b')).toMatchObject({
      endpoint: 'https://store.example',
      prefix: '',
      region: 'us-east-1',
      credentials: undefined,
    });
    expect(parseStore('webhdfs://hdfs@nn:9870/backups/db')).toEqual({
      kind: 'webhdfs',
      endpoint: 'http://nn:9870',
      root: '/backups/db',
      credentials: { user: 'hdfs' },
    });
  });

  it('is refused with what is wrong, and without the secret', () => {
    const wrong = [
      '',
      'ftp://x/y',
      's3://K:TOPSECRET@host',
      's3://K:TOPSECRET@host/b?acl=public',
      'webhdfs://nn:9870',
      's3://K:TOPSECRET@host/b/../c%2f..',
      's3:///b',
      's3://K:TOP#SECRET@host/b',
      's3://K:TOPSECRET@host/b?tls=maybe',
    ];
    for (const text of wrong) {
      try {
        parseStore(text);
        expect.unreachable(text);
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid' });
        expect(`${(error as AppError).message} ${(error as AppError).hint}`).not.toContain('SECRET@host');
        expect((error as AppError).message).not.toContain('TOP');
      }
    }
    expect(() => openStore('s3://host/bucket', { volume: '/x' })).toThrow(/a key and its secret/);
  });

  it('is shown, and kept in records, without its secret', () => {
    expect(shownStore('s3://AK:TOPSECRET@h/b')).toBe('s3://AK:***@h/b');
    expect(splitStore('s3://AK:TOPSECRET@h:9000/b/p?tls=off')).toEqual({
      store: 's3://h:9000/b/p?tls=off',
      credentials: { user: 'AK', secret: 'TOPSECRET' },
    });
    expect(splitStore('volume')).toEqual({ store: 'volume', credentials: undefined });
    const { store, credentials } = splitStore('s3://AK:TOPSECRET@h:9000/b/p?tls=off');
    expect(openStore(store, { volume: '/x', credentials: credentials! }).name).toBe('s3://h:9000/b/p');
  });
});
