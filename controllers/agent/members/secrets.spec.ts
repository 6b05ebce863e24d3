import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSecretStore, writeSecretFiles } from './secrets.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xcaas-secrets-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const me = { uid: process.getuid!(), gid: process.getgid!() };

test('sealed secrets are there after a restart, and unreadable on disk', async () => {
  const store = await openSecretStore(folder);
  await store.seal('web-1', { token: 'very secret', other: '' });
  const text = await readFile(join(folder, 'secrets/web-1.sealed'), 'utf8');
  expect(text).not.toContain('very');
  const again = await openSecretStore(folder);
  expect(await again.unseal('web-1')).toEqual({ token: 'very secret', other: '' });
  expect(await again.unseal('web-2')).toBeUndefined();
  await again.forget('web-1');
  expect(await again.unseal('web-1')).toBeUndefined();
  expect((await stat(join(folder, 'secrets.key'))).mode & 0o777).toBe(0o600);
});

test('a sealed file that was changed, or is another member’s, is not opened', async () => {
  const store = await openSecretStore(folder);
  await store.seal('web-1', { token: 'x' });
  const path = join(folder, 'secrets/web-1.sealed');
  const text = await readFile(path, 'utf8');
  await writeFile(join(folder, 'secrets/web-2.sealed'), text);
  await expect(store.unseal('web-2')).rejects.toMatchObject({ code: 'invalid' });
  const sealed = JSON.parse(text);
  const data = Buffer.from(sealed.data, 'base64');
  data[0]! ^= 1;
  await writeFile(path, JSON.stringify({ ...sealed, data: data.toString('base64') }));
  await expect(store.unseal('web-1')).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('web-1') });
  await writeFile(path, '{}');
  await expect(store.unseal('web-1')).rejects.toMatchObject({ code: 'invalid' });
});

test('files of a member are exactly the secrets, for their owner only; the same again touches nothing', async () => {
  const target = join(folder, 'run');
  expect(await writeSecretFiles(target, { a: '1', b: '2' }, me)).toBe(true);
  const before = (await stat(join(target, 'a'))).ino;
  expect(await writeSecretFiles(target, { a: '1', b: '2' }, me)).toBe(false);
  expect(await writeSecretFiles(target, { a: '1', c: '3' }, me)).toBe(true);
  expect((await readdir(target)).sort()).toEqual(['a', 'c']);
  expect((await stat(join(target, 'a'))).ino).toBe(before);
  expect((await stat(join(target, 'c'))).mode & 0o777).toBe(0o400);
  expect((await stat(target)).mode & 0o777).toBe(0o500);
});
