import { AppError } from '#core/errors.ts';
import { check, describeVerdict } from '#test/history/check.ts';
import { type MemberState, readState } from '#test/history/state.ts';
import type { Gap } from '#test/history/writable.ts';
import type { Clients } from './clients.ts';
import type { World } from './db-world.ts';
import type { Fault } from './fault.ts';
import type { Judge } from './runner.ts';

export function createDbJudge({ world, clients }: { world: World; clients: Clients }): Judge<Fault<World>> {
  const excused: Gap[] = [];
  /** The first round that is read row by row. */
  let since = 0;
  let verified: MemberState['rounds'] = [];

  /** Both members, when both hold the same position; the clients are at rest. */
  async function readBoth(from: number): Promise<MemberState[]> {
    const { master, follower: slave } = await world.roles();
    const [[position] = []] = await world.sql(master)('SELECT @@gtid_binlog_pos');
    const [[reached] = []] = await world.sql(slave)(`SELECT MASTER_GTID_WAIT('${position}', 60)`);
    if (reached !== '0') throw new AppError('timeout', `${slave.id} did not reach ${position} within 60 s`);
    const [[readOnly] = []] = await world.sql(slave)('SELECT @@read_only');
    if (readOnly !== '1') throw new AppError('internal', `${slave.id} follows and takes writes`);
    return Promise.all([master, slave].map((member) => readState(member.id, world.sql(member), from)));
  }

  return {
    hurt: ({ wound }) => void excused.push(...(wound.excused ?? [])),
    async check(scope) {
      const from = scope === 'window' ? since : 0;
      const states = await readBoth(from);
      const attempts = (scope === 'window' ? clients.attempts() : clients.everything()).filter(({ round }) => round >= from);
      const verdict = check({ attempts, states, verified: scope === 'window' ? verified : [], excused });
      return { ...verdict, sentence: describeVerdict(verdict) };
    },
    async nextWindow(round) {
      since = round;
      verified = (await readBoth(round))[0]!.rounds;
    },
  };
}
