import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { eventually, type XdbMember } from '#test/xdb-lab.ts';
import { startTrial, type Trial } from './xdb-trial.ts';

/** What operators and full disks do to a pair, while clients write. */
let trial: Trial;
beforeAll(async () => {
  trial = await startTrial();
});
beforeEach(async () => {
  await trial.whole();
});
afterAll(() => trial?.stop());

const value = (member: XdbMember, name: string) => member.local(`SELECT @@GLOBAL.${name}`);
const read = async (names: string) => Promise.all([trial.one, trial.two].map((member) => value(member, names)));

describe('a pair that is written to', () => {
  it('changes its master when told to, there and back, and says how long it took no writes', async () => {
    for (let turn = 0; turn < 2; turn += 1) {
      const survived = await trial.survive('switchover', async ({ slave }) => {
        const done = await trial.order(slave.id);
        expect(done).toMatchObject({ state: 'done', target: slave.id });
        expect(done.blockedMs).toBeGreaterThanOrEqual(0);
      });
      console.log(`switchover: no write for ${Math.round(survived.longestMs)} ms`);
      expect(survived.after.leader.id).toBe(survived.before.slave.id);
      expect(survived.longestMs).toBeLessThan(5000);
    }
  });

  it('refuses a switchover to nobody, and goes on', async () => {
    const survived = await trial.survive('switchover to nobody', async () => {
      expect(await trial.order('adb-9')).toMatchObject({ state: 'failed', error: expect.stringMatching(/adb-9 is not the sync slave/) });
    });
    expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
  });

  it('gives a switchover up that a lock stands in the way of, and goes on', async () => {
    const { leader } = await trial.roles();
    const holder = await leader.connect();
    try {
      const survived = await trial.survive('switchover against a lock', async ({ slave }) => {
        await holder.query('CREATE TABLE IF NOT EXISTS held (id INT PRIMARY KEY)');
        await holder.query('LOCK TABLES held WRITE');
        expect(await trial.order(slave.id)).toMatchObject({ state: 'failed', error: expect.stringMatching(/did not make way/) });
      });
      expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
    } finally {
      holder.destroy();
    }
  });

  it('loses nothing when its users are killed again and again', async () => {
    const survived = await trial.survive(
      'users killed',
      async ({ leader }) => {
        for (let turn = 0; turn < 10; turn += 1) {
          await leader.local(`KILL USER '${trial.lab.db}'@'%'`);
          await sleep(200);
        }
      },
      { excused: true },
    );
    expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
  });

  it('has begun with the parameters that are said to be the defaults', async () => {
    for (const member of [trial.one, trial.two]) expect(await member.logs()).not.toMatch(/parameters (are in force|wait for)/);
  });

  it('takes parameters on both members at once; what needs a start waits for it and is named', async () => {
    const { leader, slave } = await trial.roles();
    const engines = await Promise.all([leader.pids('mariadbd'), slave.pids('mariadbd')]);
    await trial.lab.respec({ parameters: { max_connections: '77', innodb_read_io_threads: '8' } });
    await eventually('both have it', async () => (await read('max_connections')).every((now) => now === '77'));
    await eventually('both name what waits', async () =>
      [await leader.status(), await slave.status()].every(({ pendingRestart }) => pendingRestart.join() === 'innodb_read_io_threads'),
    );
    expect(await Promise.all([leader.pids('mariadbd'), slave.pids('mariadbd')])).toEqual(engines);

    await trial.survive('slave restarted', async () => {
      expect((await slave.admin('POST', '/restart-engine')).status).toBe(202);
      await eventually('the slave has it', async () => (await value(slave, 'innodb_read_io_threads')) === '8');
    });
    expect((await slave.status()).pendingRestart).toEqual([]);
    expect((await leader.status()).pendingRestart).toEqual(['innodb_read_io_threads']);

    await trial.survive('master restarted', async () => {
      expect((await leader.admin('POST', '/restart-engine')).status).toBe(202);
      await eventually('it has it too', async () => (await value(leader, 'innodb_read_io_threads')) === '8');
    });
    await trial.lab.respec({ parameters: {} });
    await eventually('the default is back', async () => (await read('max_connections')).every((now) => now === '50'));
  });

  it('warns of a disk that fills, takes no writes on a full one, and comes back by itself', async () => {
    const { leader, epoch } = await trial.roles();
    const state = async () => (await leader.status()).disk?.state;
    expect(await state()).toBe('ok');
    const bytes = async (path: string) => Number((await leader.exec('du', '-s', '-B1', path)).stdout.split('\t')[0]);
    const [all, reserve] = [await bytes('/var/lib/xdb'), await bytes('/var/lib/xdb/reserve')];
    // Set free on a full disk, so that it counts only until then.
    expect(reserve).toBeGreaterThan(0);
    const own = all - reserve;
    await trial.lab.respec({ diskBytes: Math.round(all / 0.88) });
    await eventually('it warns', async () => (await state()) === 'warn');
    await trial.writing();
    await trial.lab.respec({ diskBytes: Math.round(own / 0.97) });
    await eventually('it is read-only', async () => (await value(leader, 'read_only')) === '1');
    expect((await leader.status()).sentence).toMatch(/disk of adb-\d is nearly full/);
    await expect(leader.sql('REPLACE INTO history_keys VALUES ()')).rejects.toThrow(/read-only/);
    expect((await trial.roles()).epoch).toBe(epoch);
    // A little room is not enough: it would flap.
    await trial.lab.respec({ diskBytes: Math.round(own / 0.92) });
    await sleep(6000);
    expect(await value(leader, 'read_only')).toBe('1');
    const survived = await trial.survive('room again', () => trial.lab.respec({ diskBytes: 20 * 2 ** 30 }), { quiet: true });
    expect(await state()).toBe('ok');
    expect(survived.after).toMatchObject({ epoch });
  });
});
