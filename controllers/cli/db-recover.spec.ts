import { describe, expect, it } from 'vitest';
import { type Asked, apiOf, cli, dbMember, dbView } from '#test/cli-driver.ts';

const recovery = (change: object = {}) => ({
  name: 'adb',
  record: null,
  members: [
    { id: 'adb-1', answers: true, epoch: 5, rev: 11, hasData: true, wasMaster: true, leader: 'adb-1', sync: 'adb-2' },
    { id: 'adb-2', answers: false, problem: 'adb-2 does not run' },
  ],
  next: { leader: { id: 'adb-1', gen: 'g' }, sync: null, cand: null, prev: null, state: 'open', epoch: 6, rev: 12 },
  refused: null,
  ...change,
});
const asked = (list: readonly Asked[]) => list.map(({ method, url }) => `${method} ${url}`);

describe('db recover', () => {
  it('shows what members remember, then writes, without those that are said to be lost', async () => {
    const view = dbView({ members: [dbMember('adb-1', 'master', 'n1')] });
    const api = await apiOf({
      'GET /v1/dbs/adb/recovery?lost=adb-2': { body: recovery() },
      'POST /v1/dbs/adb/recovery': { body: { name: 'adb', leader: 'adb-1', sentence: 'the record of adb was written anew' } },
      'GET /v1/dbs/adb': { body: view },
    });
    const { exit, stdout, stderr } = await cli('db recover adb --lost adb-2 --yes', { env: api.env });
    expect({ exit, stderr }).toMatchObject({
      exit: 0,
      stderr: expect.stringMatching(/Consul has no record[\s\S]*adb-1 +5 +11 +adb-1 +adb-2 +yes[\s\S]*adb-2 does not run/),
    });
    expect(stdout).toContain('adb');
    expect(api.asked.find(({ method }) => method === 'POST')?.body).toEqual({ lost: ['adb-2'] });
  });

  it('writes nothing where it is refused, and where nobody can say yes', async () => {
    const refused = { message: 'adb-2 did not answer', hint: 'db recover adb --lost adb-2' };
    const api = await apiOf({ 'GET /v1/dbs/adb/recovery': { body: recovery({ next: null, refused }) } });
    expect(await cli('db recover adb --yes', { env: api.env })).toMatchObject({ exit: 4, stderr: expect.stringContaining('--lost adb-2') });
    const other = await apiOf({ 'GET /v1/dbs/adb/recovery': { body: recovery() } });
    expect((await cli('db recover adb', { env: other.env })).exit).not.toBe(0);
    for (const list of [api.asked, other.asked]) expect(asked(list)).toEqual(['GET /v1/dbs/adb/recovery']);
  });
});
