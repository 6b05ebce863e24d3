import { describe, expect, it } from 'vitest';
import { living, operationsWorld as world } from '#test/xdb-operations.ts';
import { readCredentials } from '#xdb/credentials.ts';
import { addReplica, removeReplica } from '#xdb/operations/replicas.ts';

const code = (wanted: string, message: RegExp = /./) => expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });

describe('read replicas', () => {
  it('are members of their own kind, with an account, and are never given a number twice', async () => {
    const made = await world();
    await living(made);
    expect(await addReplica(made.deps, 'adb', 0)).toMatchObject({ member: 'adb-3' });
    expect(await addReplica(made.deps, 'adb', 3600)).toMatchObject({ member: 'adb-4', sentence: expect.stringContaining('3600 s behind') });
    expect((await made.store.spec('adb')).value.members.slice(2)).toEqual([
      { id: 'adb-3', role: 'replica', delaySeconds: 0 },
      { id: 'adb-4', role: 'replica', delaySeconds: 3600 },
    ]);
    expect(Object.keys((await readCredentials(made.deps, 'adb')).replication)).toEqual(['adb-1', 'adb-2', 'adb-3', 'adb-4']);
    await expect(removeReplica(made.deps, 'adb', undefined)).rejects.toEqual(code('conflict', /said which/));
    await removeReplica(made.deps, 'adb', 'adb-4');
    expect(await removeReplica(made.deps, 'adb', undefined)).toMatchObject({ member: 'adb-3' });
    expect(await addReplica(made.deps, 'adb', 0)).toMatchObject({ member: 'adb-5' });
  });

  it('are refused where they cannot be, and members that are none are not removed', async () => {
    const made = await world();
    await living(made);
    await expect(addReplica(made.deps, 'adb', -1)).rejects.toEqual(code('invalid', /-1 s/));
    await expect(removeReplica(made.deps, 'adb', 'adb-2')).rejects.toEqual(code('conflict', /adb-2 is no read replica/));
    await expect(removeReplica(made.deps, 'adb', undefined)).rejects.toEqual(code('conflict', /no read replica/));
    await expect(removeReplica(made.deps, 'adb', 'adb-9')).rejects.toEqual(code('not_found'));
    await made.store.change('adb', (spec) => ({ ...spec, memoryBytes: 2 ** 50 }));
    await expect(addReplica(made.deps, 'adb', 0)).rejects.toEqual(code('no_host'));
    await made.store.change('adb', (spec) => ({ ...spec, role: 'slave', upstream: { host: 'h', port: 3306, tls: false } }));
    await expect(addReplica(made.deps, 'adb', 0)).rejects.toEqual(code('conflict', /itself a slave, of h/));
    expect((await made.store.spec('adb')).value.members).toHaveLength(2);
  });
});
