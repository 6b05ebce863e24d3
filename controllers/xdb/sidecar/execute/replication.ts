import { AppError } from '#core/errors.ts';
import type { MasterAddress } from '#xdb/engine/engine.ts';
import { XDB_PORTS } from '../config.ts';
import { upstreamMaster } from '../upstream.ts';
import { DONE, type Executor, FAILED, type Moment, sessionOf, type Tools } from './context.ts';

/** One call applies what it can in so long; the next turn goes on. Milliseconds. */
const DRAIN_MS = 2500;

/** O1, B2 */
export const allowDumps: Executor<'allow_dumps'> = async (step, tools, moment) => {
  const session = sessionOf(tools, moment);
  const passwords = tools.credentials.current()?.replication ?? {};
  // Who may follow has to have an account; a leader that was just born has none for anybody.
  for (const member of step.members) {
    const password = passwords[member];
    if (password === undefined) throw new AppError('unavailable', `the replication account of ${member} is not known yet`);
    await session.ensureReplicationAccount(member, password);
  }
  await session.allowDumps(step.members);
  return DONE;
};

export const semiSyncMaster: Executor<'semi_sync_master'> = async (step, tools, moment) => {
  const session = sessionOf(tools, moment);
  await session.setSemiSyncMaster(step.on);
  if (step.cut) await session.cutDumps();
  return DONE;
};

/** B: after semi-sync is on, so that everything later waits. */
export const sample: Executor<'sample'> = async (_step, tools, moment) => ({
  is: 'done',
  g: (await sessionOf(tools, moment).facts()).binlogGtid,
});

/** P2, J */
export const stopReceiving: Executor<'stop_receiving'> = async (_step, tools, moment) => {
  await sessionOf(tools, moment).stopReceiving();
  return DONE;
};

/** P3, J1 */
export const drain: Executor<'drain'> = async (_step, tools, moment) => ((await sessionOf(tools, moment).drain(DRAIN_MS)) ? DONE : FAILED);

/** P4: everything that was received is applied, so it is on the disk, and nothing more comes. */
export const forgetMaster: Executor<'forget_master'> = async (_step, tools, moment) => {
  const session = sessionOf(tools, moment);
  await session.forgetMaster();
  await session.setSemiSyncSlave(false);
  await tools.disk.noteWhole();
  return DONE;
};

/** J2. "Unknown" is no answer: it is asked again. */
export const compare: Executor<'compare'> = async (step, tools, moment) => {
  const compared = await sessionOf(tools, moment).compareWith(masterOf(step.leader, tools, moment));
  return compared === 'unknown' ? FAILED : { is: 'done', compared };
};

/** J2, J3: what is acknowledged from here on may be in the host's memory only, and that is written down first. */
export const follow: Executor<'follow'> = async (step, tools, moment) => {
  const { config, disk } = tools;
  const session = sessionOf(tools, moment);
  const delaySeconds = moment.view?.spec.value.members.find(({ id }) => id === config.member)?.delaySeconds ?? 0;
  await disk.noteReceiving();
  await session.follow(masterOf(step.leader, tools, moment), { semiSync: step.semiSync, delaySeconds });
  return DONE;
};

export const followUpstream: Executor<'follow_upstream'> = async (_step, tools, moment) => {
  const spec = moment.view?.spec.value;
  if (spec === undefined) throw new AppError('unavailable', 'the specification is not known yet');
  await sessionOf(tools, moment).followUpstream(upstreamMaster(spec, tools.credentials.current(), tools.config, 'follow'));
  return DONE;
};

/** Each member has an account of its own at the leader, so that one can be shut out without the others. */
function masterOf(member: string, { config, credentials }: Tools, { addressOf }: Moment): MasterAddress {
  const host = addressOf(member);
  const password = credentials.current()?.replication[config.member];
  if (host === undefined) throw new AppError('unavailable', `it is not known where ${member} is`);
  if (password === undefined) throw new AppError('unavailable', `the replication account of ${config.member} is not known yet`);
  return { member, host, port: XDB_PORTS.engine, user: `repl_${config.member}`, password, caFile: config.paths.ca };
}
