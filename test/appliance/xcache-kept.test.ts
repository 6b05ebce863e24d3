import { afterEach, describe, expect, it } from 'vitest';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';

let lab: XcacheLab | undefined;
afterEach(async () => {
  await lab?.stop();
  lab = undefined;
});

async function members(here: XcacheLab): Promise<XcacheMember[]> {
  lab = here;
  const made = await Promise.all(here.spec.members.map(({ id }) => here.member(id)));
  await whole(here);
  return made;
}
const whole = (here: XcacheLab) =>
  eventually('all is well', async () => {
    const lead = await here.lead();
    return lead?.state === 'open' && lead.insync.length === here.spec.replicas;
  });
async function fill(member: XcacheMember, count: number): Promise<void> {
  const client = await member.client();
  await Promise.all(Array.from({ length: count }, (_, index) => client.set(`k:${index}`, index)));
  client.disconnect();
}
const keys = async (member: XcacheMember) => Number(await member.cli('DBSIZE'));

describe('what is kept on disk', () => {
  it('by Redis with an append-only file: both members are killed at once and have it all again', async () => {
    const here = await startXcacheLab({ engine: 'redis', persistence: 'aof' });
    const [one, two] = await members(here);
    if (one === undefined || two === undefined) throw new Error('no members');
    expect((await one.status()).version).toMatch(/^8\./);
    await fill(one, 500);
    // It is written to its file each second.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const before = await here.lead();
    await Promise.all([one.kill(), two.kill()]);
    await two.start();
    await one.start();
    const began = performance.now();
    await eventually('there is a master again', async () => (await here.lead())?.epoch !== before?.epoch);
    await whole(here);
    console.log(`both killed at once: whole again after ${Math.round(performance.now() - began)} ms`);
    expect([await keys(one), await keys(two)]).toEqual([500, 500]);
    // Redis hands over as well.
    expect(await here.switchover('acache-2')).toMatchObject({ state: 'done' });
    await whole(here);
    expect(await keys(two)).toBe(500);
  });

  it('by a standalone one with snapshots: it is stopped, and has it all again; killed, it says that it begins with what is on its disk', async () => {
    const here = await startXcacheLab({ mode: 'standalone', persistence: 'rdb' });
    const [one] = await members(here);
    if (one === undefined) throw new Error('no member');
    await fill(one, 300);
    await one.stopGently();
    await one.start();
    await eventually('it takes writes again', async () => (await one.status()).state === 'running');
    expect(await keys(one)).toBe(300);
    await fill(one, 310);
    await one.signal('engine', 'KILL');
    await eventually('it takes writes again', async () => (await one.status()).state === 'running' && (await here.lead())?.epoch === 3);
    expect(await keys(one)).toBe(300);
    const { body } = await one.admin('GET', '/logs');
    expect((body as { lines: string[] }).lines.join('\n')).toContain(
      'acache-1 takes back with what is on its disk: nobody holds a newer copy',
    );
  });

  it('nothing by a cache without files: a master whose engine is killed while its replica is away does not win empty over it', async () => {
    const here = await startXcacheLab();
    const [one, two] = await members(here);
    if (one === undefined || two === undefined) throw new Error('no members');
    await fill(one, 200);
    await eventually('the replica has it', async () => (await keys(two)) === 200);
    await two.cutOff();
    await eventually('it is off the record', async () => (await here.lead())?.insync.length === 0);
    await two.join();
    await eventually('it follows again', async () => (await two.cli('INFO', 'replication')).includes('master_link_status:up'));
    // Its engine alone: it goes on asking at the address of the master, where an empty one is soon.
    await two.signal('node', 'STOP');
    const started = async () => /^run_id:(\w+)/m.exec(await one.cli('INFO', 'server').catch(() => ''))?.[1];
    const before = await started();
    await one.signal('engine', 'KILL');
    await eventually('its engine is there again', async () => ![undefined, before].includes(await started()));
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(await two.cli('DBSIZE')).toContain('200');
    await two.signal('node', 'CONT');
    await whole(here);
    // Whoever of the two came first: an older copy, or the same, is better than nothing.
    expect([await keys(one), await keys(two)]).toEqual([200, 200]);
  });
});
