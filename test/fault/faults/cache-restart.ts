import { messageOf } from '#core/errors.ts';
import { type CacheFault, UNWRITTEN } from '../cache-fault.ts';
import type { CacheWorld } from '../cache-world.ts';
import type { Member } from '../world.ts';
import { AFTER } from './processes.ts';

/** All members end in one moment and start in any order, each at whatever address is free by then. */
export function allKilled(expect: string): CacheFault {
  return {
    ...AFTER,
    ...{ name: 'the containers of all members are killed at once', expect, lasts: [2, 5], weight: 3 },
    ...{ writable: { from: 'fault', seconds: 60 }, loses: UNWRITTEN },
    async inject(world: CacheWorld, random) {
      const members = random.shuffled(await world.members());
      const before = await addresses(world, members);
      await Promise.all(members.map((member) => world.docker(member.host, 'kill', member.id)));
      const wound = {
        what: 'all members',
        async heal() {
          for (const member of members) await start(world, member);
          const after = await addresses(world, members);
          wound.what = members.map(({ id }, at) => `${id} ${before[at]} → ${after[at]}`).join(', ');
        },
      };
      return wound;
    },
  };
}

/** Swarm gives up attaching a container to its network after twenty seconds, which a busy machine may need: it is asked once more. */
async function start(world: CacheWorld, { host, id }: Member): Promise<void> {
  const started = () => world.docker(host, 'start', id);
  await started().catch((error: unknown) => {
    if (!messageOf(error).includes('Could not attach to network')) throw error;
    return started();
  });
}

function addresses(world: CacheWorld, members: readonly Member[]): Promise<string[]> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return Promise.all(members.map(async ({ id, host }) => (await world.docker(host, 'inspect', '--format', format, id)).trim()));
}
