import { afterEach, describe, expect, it } from 'vitest';
import { run } from '#core/spawn.ts';
import { startXcacheLab, type XcacheLab, type XcacheMember } from '#test/xcache-lab.ts';
import { eventually } from '#test/xdb-lab.ts';

let lab: XcacheLab | undefined;
afterEach(async () => {
  await lab?.stop();
  lab = undefined;
});

interface Taken {
  at: number;
  by: string;
}

/** Writes at one engine from inside its container all the time, whatever becomes of its network. Times are of the one clock that all containers have. */
function writer(member: XcacheMember, user: string, password: string) {
  const script = `while [ -e /tmp/go ]; do r=$(timeout 2 valkey-cli -s /run/xcache/engine.sock --no-auth-warning --user ${user} --pass ${password} INCR w:${member.id}); echo "$(date +%s%3N) $r"; sleep 0.03; done`;
  const running = run('docker', ['exec', member.container, 'sh', '-c', `touch /tmp/go; ${script}`], { timeoutMs: 60_000 });
  return async (): Promise<Taken[]> => {
    await run('docker', ['exec', member.container, 'rm', '-f', '/tmp/go']);
    const { stdout } = await running;
    return stdout.split('\n').flatMap((line) => {
      const [at, answer] = line.split(' ');
      return answer !== undefined && /^\d+$/.test(answer) ? [{ at: Number(at), by: member.id }] : [];
    });
  };
}

/** A master with a client beside it is cut off from everybody else. @returns what was taken where, from then on, and when its successor began */
async function cutOffMaster({ guards, minReplicas }: { guards: string; minReplicas: number }) {
  lab = await startXcacheLab({ minReplicas });
  const here = lab;
  const env: Record<string, string> = guards === '' ? {} : { XCAAS_TEST_GUARDS: guards };
  const made = await Promise.all(here.spec.members.map(({ id }) => here.member(id, { env })));
  await eventually('master and replica are in sync', async () => (await here.lead())?.insync.length === 1);
  const master = made.find(({ id }) => id === 'acache-1');
  const replica = made.find(({ id }) => id === 'acache-2');
  if (master === undefined || replica === undefined) throw new Error('no members');
  const finish = [master, replica].map((member) => writer(member, here.spec.user, here.password));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const cutAt = Date.now();
  await master.cutOff();
  await eventually('the replica takes over', async () => {
    const lead = await here.lead();
    return lead?.master.id === replica.id && lead.state === 'open';
  });
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const taken = (await Promise.all(finish.map((end) => end()))).flat().filter(({ at }) => at > cutAt);
  const lastOld = Math.max(0, ...taken.filter(({ by }) => by === master.id).map(({ at }) => at)) - cutAt;
  const firstNew = Math.min(...taken.filter(({ by }) => by === replica.id).map(({ at }) => at)) - cutAt;
  console.log(
    `cut off, guards off: ${guards || 'none'}, min-replicas ${minReplicas}: the old master's last write after ${lastOld} ms, the new one's first after ${firstNew} ms`,
  );
  return { here, master, replica, lastOld, firstNew };
}

describe('a master that is cut off with a client beside it', () => {
  it('takes no more writes before its successor takes the first, and comes back as its replica', async () => {
    const { here, master, replica, lastOld, firstNew } = await cutOffMaster({ guards: '', minReplicas: 1 });
    expect(lastOld).toBeLessThan(firstNew);
    await replica.cli('SET', 'newer', 'yes');
    await master.join();
    await eventually('both are there again', async () => (await here.lead())?.insync.length === 1);
    expect(await master.cli('GET', 'newer')).toBe('yes');
  });

  it('without the guards there are two masters: this test can fail', async () => {
    const { lastOld, firstNew } = await cutOffMaster({ guards: 'lease', minReplicas: 0 });
    expect(lastOld).toBeGreaterThan(firstNew + 2000);
  });
});
