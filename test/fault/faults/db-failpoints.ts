import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '#core/sleep.ts';
import { signal } from '#test/pool/processes.ts';
import { EXPECT, type Fault } from '../fault.ts';
import type { Member, ServiceWorld } from '../world.ts';

/** Where the sidecars of this suite look for their fail points, see controllers/xdb/sidecar/failpoint.ts. */
export const FAILPOINTS_FILE = '/run/member/failpoints';
/** So long at the most a sidecar that hangs is thought well: `PET_MS` of controllers/xdb/sidecar/turn.ts, and what it takes to end it. */
const HUNG_MS = 6500;

interface Point {
  point: string;
  /** What makes the protocol come to this point. */
  by: 'failover' | 'fallback' | 'switchover';
}

/** A step of the protocol each, before and after it; by what brings it about. */
const POINTS: readonly Point[] = [
  // The slave's way to lead.
  ...[
    'write:P1',
    'step:stop_receiving',
    'step:drain',
    'step:forget_master',
    'write:P5',
    'step:allow_dumps',
    'step:mark_master',
    'step:read_only',
  ].map((point): Point => ({ point, by: 'failover' })),
  // The old master's way back.
  ...['step:start', 'step:adopt', 'step:compare', 'step:follow', 'step:publish'].map((point): Point => ({ point, by: 'failover' })),
  // The master's way to go on alone, and back to a slave in sync.
  ...['write:F1', 'step:semi_sync_master', 'write:B1', 'step:sample', 'write:B3'].map((point): Point => ({ point, by: 'fallback' })),
  ...['step:read_only', 'step:move', 'step:kill_users', 'write:P1'].map((point): Point => ({ point, by: 'switchover' })),
];

const BROUGHT: Record<Point['by'], string> = {
  failover: 'kill -9 engine of the master',
  fallback: 'the engine of the slave sleeps for 4 s',
  switchover: 'switchover',
};

/**
 * The sidecars of both members die, or hang, each time they come to a point, until the healing.
 *
 * @param once only the first sidecar that comes to it, and only once
 */
function failpoint({ point, by }: Point, at: 'before' | 'after', action: 'crash' | 'hang', once: boolean): Fault {
  const times = once ? 'once' : 'each time';
  const how = action === 'crash' ? `dies ${times} it is` : 'hangs when it is';
  return {
    name: `${BROUGHT[by]}; a sidecar ${how} ${at} ${point}`,
    expect: 'the next sidecar, or the other member, goes on from the records; nothing acknowledged is lost',
    ...{ lasts: [6, 12], weight: 1, whole: 180, writable: { from: 'heal', seconds: 60 } },
    async inject(world) {
      const { master, follower: slave } = await world.roles();
      const members = [master, slave];
      const file = (member: Member) => join(world.runFolder(member), 'failpoints');
      for (const member of members) writeFileSync(file(member), `${point}:${at}=${action}${once ? '*1' : ''}`);
      const before = await sidecars(world, members);
      if (once) void forgetOnceMet(world, members, file, before);
      let asked: Promise<unknown> = Promise.resolve();
      if (by === 'switchover') asked = world.switchover();
      else if (by === 'failover') await world.signal(master, 'engine', 'SIGKILL');
      else asked = nap(world, slave);
      asked.catch(() => undefined);
      const wound = {
        what: `${master.id} on ${master.host.name} led`,
        async heal() {
          for (const member of members) rmSync(file(member), { force: true });
          await asked;
          // One that hangs since a moment ago looks well, and is ended by its supervisor when all seems to be over.
          if (action === 'hang') await sleep(HUNG_MS);
          const met = (await sidecars(world, members)) !== before;
          wound.what += met ? '' : '; the point was not met';
        },
      };
      return wound;
    },
  };
}

/** Longer than a commit may wait, shorter than its own sidecar bears. */
async function nap(world: ServiceWorld, member: Member): Promise<void> {
  const sleeping = await world.pids(member, 'engine');
  for (const pid of sleeping) signal(pid, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 4000));
  for (const pid of sleeping) signal(pid, 'SIGCONT');
}

async function sidecars(world: ServiceWorld, members: readonly Member[]): Promise<string> {
  return JSON.stringify(await Promise.all(members.map((member) => world.pids(member, 'sidecar').catch(() => []))));
}

/** A sidecar that starts again would come to the point a first time again. */
async function forgetOnceMet(
  world: ServiceWorld,
  members: readonly Member[],
  file: (member: Member) => string,
  before: string,
): Promise<void> {
  while (members.some((member) => existsSync(file(member)))) {
    if ((await sidecars(world, members)) !== before) for (const member of members) rmSync(file(member), { force: true });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const FAILPOINT_FAULTS: readonly Fault[] = POINTS.flatMap((point) => [
  failpoint(point, 'before', 'crash', true),
  failpoint(point, 'after', 'crash', true),
  failpoint(point, 'after', 'crash', false),
  failpoint(point, 'after', 'hang', false),
]).map((fault) => ({ ...fault, expect: `${fault.expect}; ${EXPECT.either}` }));
