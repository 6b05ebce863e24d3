import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeContract } from '../spec-lib/store-contract.ts';
import { startWebHdfs, type WebHdfsServer } from '../spec-lib/webhdfs-server.ts';
import { getText, putText } from './store.ts';
import { createWebHdfsStore } from './webhdfs.ts';

let server: WebHdfsServer;
const open = (user = 'backup') => createWebHdfsStore({ endpoint: server.endpoint, root: '/backups/db', user });

beforeAll(async () => {
  server = await startWebHdfs();
});
afterAll(() => server?.stop());

describe('a store on HDFS', () => {
  storeContract(open, { largeBytes: 3_000_000 });

  it('takes data in two steps, and renames what is complete', async () => {
    server.seen.length = 0;
    await putText(open(), 'x', 'text');
    expect(server.seen.filter((each) => !each.includes('DELETE'))).toEqual(['nn CREATE', 'dn CREATE', 'nn RENAME']);
    expect(server.files.get('/backups/db/x')?.toString()).toBe('text');
    expect(await getText(open(), 'x')).toBe('text');
    await open().delete('x');
  });

  it('asks again while no namenode is active, and takes a lost answer for what it was', async () => {
    server.fail(2, 503);
    await putText(open(), 'x', 'text');
    await open().delete('x');
    server.loseRename();
    await putText(open(), 'y', 'text');
    expect(await getText(open(), 'y')).toBe('text');
    await open().delete('y');
  });

  it('does not list what is being written or was left, and says who may not', async () => {
    server.files.clear();
    server.files.set('/backups/db/full/a/data.0a1b2c3d.part', Buffer.from('half'));
    expect(await open().list('')).toEqual([]);
    await open().tidy(new Date());
    expect(server.files.size).toBe(1);
    await open().tidy(new Date(Date.now() + 25 * 3_600_000));
    expect(server.files.size).toBe(0);
    await expect(open('nobody').put('x', Readable.from([Buffer.from('a')]))).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('AuthenticationException'),
    });
  });
});
