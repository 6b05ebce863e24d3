import { consulError } from '#core/consul/transport.ts';
import { AppError } from '#core/errors.ts';
import { type DataRecord, type MoveOrder, MoveOrder as MoveSchema } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import { DONE, type Executor, FAILED, sessionOf, type Tools } from './context.ts';

const WRITE_MS = 1500;

/** All writes of the record `sync`. */
export const write: Executor<'write'> = async (step, { write: commit, session, config }, { view }) => {
  if (view === undefined) throw new AppError('unavailable', 'no record was read yet');
  const outcome = await commit(step.write, {
    rule: step.rule,
    rev: view.protocol.sync?.value.rev ?? 0,
    session: session.id(),
    ownData: view.protocol.data[config.member]?.value,
  });
  return outcome.result === 'done' ? { is: 'done', index: outcome.index } : { is: outcome.result };
};

/** J3: what this member says of its data. */
export const publish: Executor<'publish'> = async (step, tools, { instance }) => {
  const { gen } = tools.disk.now();
  if (gen === null || instance === undefined) return FAILED;
  const record: DataRecord = { v: 1, gen, boot: instance, ready: step.ready };
  return (await cas(tools, dbKeys(tools.config.db).data(tools.config.member), record, step.at)) ? DONE : FAILED;
};

/** W: the state of an order. The position is sampled here, after nobody writes any more. */
export const move: Executor<'move'> = async (step, tools, moment) => {
  const order = moment.view?.protocol.move;
  if (order === undefined || order.index !== step.at) return FAILED;
  const now = new Date();
  const next: MoveOrder = MoveSchema.parse({
    ...order.value,
    state: step.state,
    ...(step.target === undefined ? {} : { target: step.target }),
    ...(step.error === undefined ? {} : { error: step.error }),
  });
  if (step.gtid === 'sample') {
    next.gtid = (await sessionOf(tools, moment).facts()).binlogGtid;
    next.blockedAt ??= now.toISOString();
  }
  if (step.state === 'done' && next.blockedMs === undefined && next.blockedAt !== undefined) {
    next.blockedMs = Math.max(0, now.getTime() - Date.parse(next.blockedAt));
  }
  return (await cas(tools, dbKeys(tools.config.db).move, next, step.at)) ? DONE : FAILED;
};

export const takeLock: Executor<'take_lock'> = async (_step, { session }) => ((await session.takeLock()) ? DONE : FAILED);

/** @returns false when somebody else wrote first @throws AppError when it is not known whether it was written */
async function cas({ consul }: Tools, key: string, value: unknown, index: number): Promise<boolean> {
  const answer = await consul.request('PUT', `/v1/kv/${key}`, { query: { cas: index }, raw: JSON.stringify(value), timeoutMs: WRITE_MS });
  if (answer.status !== 200) throw consulError(answer, `writing ${key}`);
  return answer.body === true;
}
