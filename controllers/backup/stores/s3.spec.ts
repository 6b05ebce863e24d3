import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCOUNT, type S3Server, signatureOf, startS3 } from '../spec-lib/s3-server.ts';
import { storeContract } from '../spec-lib/store-contract.ts';
import { createS3Store } from './s3.ts';
import { putText } from './store.ts';
import { openStore } from './url.ts';

let server: S3Server;
beforeAll(async () => {
  server = await startS3();
});
afterAll(() => server.stop());

const PART = 128 * 1024;
const open = (change: object = {}) =>
  createS3Store({ ...ACCOUNT, endpoint: server.endpoint, prefix: 'team/a/', partBytes: PART, pageKeys: 2, ...change });

describe('an S3 store', () => {
  storeContract(open, { largeBytes: 5 * PART + 1 });

  it('signs as Amazon does: the check of it gives what its documentation publishes', () => {
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    const example = {
      ...{ method: 'GET', region: 'us-east-1', time: '20130524T000000Z', contentHash: empty },
      secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    };
    const common: [string, string][] = [
      ['host', 'examplebucket.s3.amazonaws.com'],
      ['x-amz-content-sha256', empty],
      ['x-amz-date', '20130524T000000Z'],
    ];
    // "Example: GET Object" and "Example: GET Bucket (List Objects)" of "Signature Calculations for the Authorization Header".
    expect(signatureOf({ ...example, path: '/test.txt', query: [], headers: [...common, ['range', 'bytes=0-9']] })).toBe(
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    );
    const query: [string, string][] = [
      ['max-keys', '2'],
      ['prefix', 'J'],
    ];
    expect(signatureOf({ ...example, path: '/', query, headers: common })).toBe(
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    );
  });

  it('keeps to its prefix, and leaves no upload behind', async () => {
    await putText(open({ prefix: 'team/b/' }), 'x', 'theirs');
    expect(await open().list('')).toEqual([]);
    expect([...server.objects.keys()]).toEqual(['team/b/x']);
    expect(server.uploads.size).toBe(0);
    await open({ prefix: 'team/b/' }).delete('x');
  });

  it('ends uploads that were left behind a day ago, and no others', async () => {
    const yesterday = new Date(Date.now() - 25 * 3_600_000);
    server.uploads.set('old', { key: 'team/a/full/x', begun: yesterday, parts: new Map() });
    server.uploads.set('new', { key: 'team/a/full/y', begun: new Date(), parts: new Map() });
    server.uploads.set('theirs', { key: 'team/b/full/z', begun: yesterday, parts: new Map() });
    await open().tidy(new Date());
    expect([...server.uploads.keys()]).toEqual(['new', 'theirs']);
    server.uploads.clear();
  });

  it('asks again when the store is busy, and not when it refuses', async () => {
    server.fail(2, 503);
    await putText(open(), 'x', 'y');
    server.fail(1, 403);
    await expect(open().delete('x')).rejects.toMatchObject({ code: 'forbidden' });
    await open().delete('x');
  });

  it('says what is wrong with an account, without its secret', async () => {
    const wrong = open({ secretKey: 'very-secret' });
    await expect(putText(wrong, 'x', 'y')).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringMatching(/^(?!.*very-secret).*SignatureDoesNotMatch/),
    });
    await expect(putText(open({ accessKey: 'NOBODY' }), 'x', 'y')).rejects.toMatchObject({ code: 'forbidden' });
    await expect(putText(open({ bucket: 'none' }), 'x', 'y')).rejects.toMatchObject({ code: 'not_found' });
    expect(wrong.name).not.toContain('very-secret');
  });

  it('is opened by its address', async () => {
    const { accessKey, secretKey, region, bucket } = ACCOUNT;
    const at = `s3://${accessKey}:${encodeURIComponent(secretKey)}@${new URL(server.endpoint).host}/${bucket}/x?region=${region}&tls=off`;
    const store = openStore(at, { volume: '' });
    await store.put('full/a', Readable.from([Buffer.from('content')]));
    expect(await store.list('full/')).toEqual([{ key: 'full/a', bytes: 7 }]);
    await store.delete('full/a');
  });
});
