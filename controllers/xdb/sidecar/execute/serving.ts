import { AppError } from '#core/errors.ts';
import { DONE, type Executor, FAILED, sessionOf } from './context.ts';

/** W1: how long statements and commits get to make way, in milliseconds; meanwhile all other writes wait with it. */
const READ_ONLY_MS = 2000;
/** E1: nothing else has been written in this epoch yet; who waits is released by F like any other commit. */
const FIRST_BEAT_MS = 300;

/** O3, J3 */
export const markMaster: Executor<'mark_master'> = async (step, { disk }) => {
  await disk.markMaster(step.was);
  return DONE;
};

/** O4, W1, disk guard. */
export const readOnly: Executor<'read_only'> = async (step, tools, moment) => {
  const { heartbeat, config } = tools;
  const session = sessionOf(tools, moment);
  if (!step.on) {
    await session.setReadOnly(false, READ_ONLY_MS);
    heartbeat.resume();
    const epoch = moment.view?.protocol.sync?.value.epoch;
    if (epoch !== undefined) await heartbeat.beatNow({ epoch, member: config.member, instance: session.instance }, FIRST_BEAT_MS);
    return DONE;
  }
  // One that waits for its acknowledgement, and is sent again and again, would stand in the way of read-only like any other commit.
  if (!(await heartbeat.pause(READ_ONLY_MS))) {
    heartbeat.resume();
    return FAILED;
  }
  try {
    await session.setReadOnly(true, READ_ONLY_MS);
    return DONE;
  } catch (error) {
    heartbeat.resume();
    // It says that it is as it was; that is looked at.
    const facts = await session.facts();
    if (facts.readOnly) return DONE;
    if (!(error instanceof AppError)) throw error;
    return FAILED;
  }
};

/** W1: read-only is in force and nobody waits. */
export const killUsers: Executor<'kill_users'> = async (_step, tools, moment) => {
  await sessionOf(tools, moment).killUsers();
  return DONE;
};
