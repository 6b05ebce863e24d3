import { wait } from '#xdb/protocol/situation.ts';
import type { Local, Records, Step } from '#xdb/protocol/types.ts';

/** Before there is a record: the one member that the specification names makes the data, then the record. All others wait (S4: never initdb). */
export function birth(records: Records, local: Local): Step {
  const { me, disk, engine } = local;
  const { birth: record } = records;
  if (record === undefined || record.value.done || record.value.member !== me) {
    return wait('S4', `${record?.value.member ?? 'nobody'} is to make the data first`);
  }
  if (disk.gen === undefined) {
    if (engine.state !== 'down') return wait('starting', 'the engine is being stopped before the data are made');
    return { rule: 'birth', do: 'initialise', reason: `${me} makes the data of this database` };
  }
  return {
    rule: 'birth',
    do: 'write',
    reason: `${me} has made the data and is written down as their leader`,
    write: {
      next: { leader: { id: me, gen: disk.gen }, sync: null, cand: null, prev: null, state: 'open', epoch: 1 },
      at: 0,
      birth: record.index,
    },
  };
}
