import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MemberSpec } from '#pool/member.ts';
import type { MemberStore } from './store.ts';
import { listVolumes } from './volumes.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xcaas-volumes-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const spec = MemberSpec.parse({ id: 'adb-1', kind: 'db', service: 'adb', image: `sha256:${'a'.repeat(64)}`, network: 'xcaas' });
const store: Pick<MemberStore, 'get'> = { get: async (id) => (id === 'adb-1' ? { v: 1, spec, stopped: false } : undefined) };

test('data that lies on the host is told with the volumes that hold any, and whether its member belongs here', async () => {
  await mkdir(join(folder, 'adb-1/data'), { recursive: true });
  await writeFile(join(folder, 'adb-1/data/xdb.json'), '{}');
  await mkdir(join(folder, 'adb-1/backup'), { recursive: true });
  await mkdir(join(folder, 'old-2/data/db'), { recursive: true });
  await writeFile(join(folder, 'stray'), '');

  expect(await listVolumes(folder, store)).toEqual([
    { member: 'adb-1', volumes: ['data'], kept: true },
    { member: 'old-2', volumes: ['data'], kept: false },
    { member: 'stray', volumes: [], kept: false },
  ]);
});

test('a host that never had a member has no data', async () => {
  expect(await listVolumes(join(folder, 'nowhere'), store)).toEqual([]);
});
