import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { discardReceived } from './discard.ts';

it('takes the relay log and the place in the master, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'xdb-discard-'));
  try {
    const received = ['relay.000001', 'relay.1000000', 'relay.index', 'relay-log.info', 'master.info'];
    const kept = ['binlog.000001', 'binlog.index', 'binlog.state', 'ibdata1', 'xdb-master.json', 'relay.txt.000001'];
    for (const name of [...received, ...kept]) await writeFile(join(folder, name), '');
    await discardReceived(folder);
    expect((await readdir(folder)).sort()).toEqual([...kept].sort());
    await discardReceived(folder);
    await expect(discardReceived(join(folder, 'not-there'))).resolves.toBeUndefined();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
