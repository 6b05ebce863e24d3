import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import { groupBy } from './group.ts';
import { countKey, listKey, type Place, placeOf } from './keys.ts';

/** What a worker wrote in a round, as a member has it. */
export interface Kept extends Place {
  numbers: number[];
  count: number;
}

/** What a member holds, read while nothing is written. */
export interface CacheState {
  member: string;
  /** Of all keys that are ours, in any round. */
  digest: string;
  /** Of the rounds that were asked for. */
  kept: Kept[];
  /** Of each earlier round: how many numbers, with a digest over what they are. */
  rounds: { round: number; numbers: number; digest: string }[];
}

/** Runs one command on a member's own engine, whatever its role. @returns the answer as the engine's command line prints it */
export type MemberCommand = (...words: string[]) => Promise<string>;

/** All lists and counts in one answer: a line a worker and round. Reading only, so a replica answers it too; its keys are found by itself, so a cluster's member as well. */
const SCRIPT = `#!lua flags=no-writes,allow-cross-slot-keys
local lines = {}
for _, key in ipairs(redis.call('KEYS', 'list:{*')) do
  lines[#lines + 1] = key .. ' ' .. (redis.call('GET', (key:gsub('^list', 'count'))) or '0') .. ' ' .. table.concat(redis.call('LRANGE', key, 0, -1), ',')
end
for _, key in ipairs(redis.call('KEYS', 'count:{*')) do
  local list = key:gsub('^count', 'list')
  if redis.call('EXISTS', list) == 0 then lines[#lines + 1] = list .. ' ' .. redis.call('GET', key) .. ' ' end
end
return table.concat(lines, '\\n')`;

/**
 * @param members that hold parts of the whole, as a cluster's masters do; one, where it holds everything
 * @param since the first round whose numbers are read; those before are read as digests
 */
export async function readState(members: readonly { id: string; command: MemberCommand }[], since = 0): Promise<CacheState> {
  const answers = await Promise.all(members.map(({ command }) => command('EVAL_RO', SCRIPT, '0')));
  const all = answers.flatMap((answer) => answer.split('\n').flatMap((line) => (line.trim() === '' ? [] : [parse(line)])));
  all.sort((a, b) => a.round - b.round || a.client.localeCompare(b.client) || a.worker - b.worker);
  const earlier = groupBy(
    all.filter(({ round }) => round < since),
    ({ round }) => round,
  );
  return {
    member: members.map(({ id }) => id).join(', '),
    digest: digestOf(all),
    kept: all.filter(({ round }) => round >= since),
    rounds: [...earlier].map(([round, list]) => ({
      round,
      numbers: list.reduce((sum, { numbers }) => sum + numbers.length, 0),
      digest: digestOf(list),
    })),
  };
}

function parse(line: string): Kept {
  const [key = '', count, numbers = ''] = line.split(' ');
  const place = placeOf(key);
  if (place === undefined) throw new AppError('internal', `not understood: ${line.slice(0, 200)}`);
  return { ...place, count: Number(count), numbers: numbers.trim() === '' ? [] : numbers.split(',').map(Number) };
}

function digestOf(list: readonly Kept[]): string {
  const hash = createHash('sha256');
  for (const kept of list) hash.update(`${listKey(kept)} ${kept.numbers.join()} ${countKey(kept)} ${kept.count}\n`);
  return hash.digest('hex').slice(0, 16);
}
