import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { docker, eventually } from '#test/xdb-lab.ts';
import { type Survived, startTrial, type Trial } from './xdb-trial.ts';

/**
 * Faults of one member or both while clients write. Each ends with everything that was acknowledged on both members, and with both members the same; times that
 * are asserted are generous, since machines are busy.
 */
let trial: Trial;
beforeAll(async () => {
  trial = await startTrial();
});
beforeEach(async () => {
  await trial.whole();
});
afterAll(() => trial?.stop());

const told = (what: string, { longestMs, before, after }: Survived) =>
  console.log(`${what}: no write for ${Math.round(longestMs)} ms, epoch ${before.epoch} → ${after.epoch}`);
const noSync = () => eventually('the record names no slave', async () => (await trial.lab.sync())?.sync === null);
const ledBy = (id: string) => eventually(`${id} leads`, async () => (await trial.lab.sync())?.leader.id === id);

describe('a pair that is written to', () => {
  it('whose sidecar is killed goes on, and the next one takes the engine over as it is (A1)', async () => {
    const { leader } = await trial.roles();
    const [engine] = await leader.pids('mariadbd');
    const [sidecar] = await leader.pids('node');
    const survived = await trial.survive('sidecar killed', async () => {
      await leader.signal('node', 'KILL');
      await eventually('another sidecar runs', async () => {
        const [now] = await leader.pids('node');
        return now !== undefined && now !== sidecar;
      });
    });
    told('sidecar killed', survived);
    expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
    expect(await leader.pids('mariadbd')).toEqual([engine]);
    expect(survived.longestMs).toBeLessThan(5000);
  });

  it('is led by the slave when engine and sidecar of the master are killed together', async () => {
    const survived = await trial.survive('engine and sidecar killed', async ({ leader, slave }) => {
      await Promise.all([leader.signal('node', 'KILL'), leader.signal('mariadbd', 'KILL')]);
      await ledBy(slave.id);
    });
    told('engine and sidecar killed', survived);
    expect(survived.after.leader.id).toBe(survived.before.slave.id);
    expect(survived.after.epoch).toBe(survived.before.epoch + 1);
  });

  it('is led by the slave when the container of the master dies', async () => {
    const survived = await trial.survive('container killed', async ({ leader, slave }) => {
      await leader.kill();
      await ledBy(slave.id);
      await trial.writing();
      await leader.start();
    });
    told('container killed', survived);
    expect(survived.after.leader.id).toBe(survived.before.slave.id);
  });

  it('is led by the slave when the engine of the master is frozen, and the frozen one never speaks again', async () => {
    const survived = await trial.survive('engine frozen', async ({ leader, slave }) => {
      const [frozen] = await leader.pids('mariadbd');
      await leader.signal('mariadbd', 'STOP');
      await ledBy(slave.id);
      await eventually('the frozen engine was killed', async () => !(await leader.pids('mariadbd')).includes(frozen!));
    });
    told('engine frozen', survived);
    expect(survived.after.leader.id).toBe(survived.before.slave.id);
  });

  it('has one writer when a master that was frozen whole wakes up', async () => {
    const survived = await trial.survive('member frozen', async ({ leader, slave }) => {
      await docker('pause', leader.container);
      try {
        await ledBy(slave.id);
        await trial.writing();
      } finally {
        await docker('unpause', leader.container);
      }
    });
    told('member frozen', survived);
    expect(survived.after.leader.id).toBe(survived.before.slave.id);
  });

  it('goes on without its slave, says so in the record first, and takes it back', async () => {
    const survived = await trial.survive('slave lost', async ({ slave }) => {
      await slave.kill();
      await noSync();
      await trial.writing();
      await slave.start();
    });
    told('slave lost', survived);
    expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
  });

  it('loses nothing when its master is told to end while commits hang', async () => {
    const survived = await trial.survive('told to end while commits hang', async ({ leader, slave }) => {
      await docker('pause', slave.container);
      try {
        await eventually('commits wait', async () => Number(await leader.local(WAITING)) > 0);
        await leader.stopGently();
      } finally {
        await docker('unpause', slave.container);
      }
      await leader.start();
    });
    told('told to end while commits hang', survived);
  });

  it('comes back by itself when both members were killed, at other addresses than before', async () => {
    const { one, two, lab } = trial;
    const addresses = () => Promise.all([one.address(), two.address()]);
    const before = await addresses();
    const stranger = `${lab.network}-stranger`;
    try {
      const survived = await trial.survive('both killed', async () => {
        await Promise.all([one.kill(), two.kill()]);
        // Somebody else gets their addresses.
        await docker('run', '--detach', '--name', stranger, '--network', lab.network, '--entrypoint', 'sleep', 'debian:trixie-slim', '600');
        await two.start();
        await one.start();
      });
      told('both killed', survived);
      expect(await addresses()).not.toEqual(before);
    } finally {
      await docker('rm', '--force', stranger).catch(() => undefined);
    }
  });

  it('keeps on being written to while Consul is away, and is led from then on as before', async () => {
    const { server } = trial.lab;
    const survived = await trial.survive('Consul away', async () => {
      await server.kill();
      try {
        await sleep(20_000);
        await trial.writing();
      } finally {
        await server.start();
      }
    });
    told('Consul away', survived);
    expect(survived.after).toMatchObject({ epoch: survived.before.epoch });
    expect(survived.longestMs).toBeLessThan(5000);
  });
});

const WAITING = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync ACK%'";
