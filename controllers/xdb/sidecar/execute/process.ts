import process from 'node:process';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { readGuards } from '../guards.ts';
import { serverIdOf } from '../server-id.ts';
import { DONE, type Executor, FAILED, type Tools, UNKNOWN } from './context.ts';

const KILL_MS = 4000;
const ADOPT_MS = 2000;

/** S1–S3 */
export const start: Executor<'start'> = async (step, { engine, supervisor, disk, config }, { view }) => {
  if (view === undefined) throw new AppError('unavailable', 'the specification is not known yet');
  const spec = view.spec.value;
  await disk.noteStart(spec.restartSerial);
  const command = await engine.commandLine({
    role: step.role,
    semiSyncMaster: step.semiSyncMaster,
    parameters: spec.parameters,
    serverId: serverIdOf(config.db, config.member),
    memoryBytes: spec.memoryBytes,
  });
  await supervisor.start(command);
  return DONE;
};

/** D1, U4, G1: SIGKILL, and nothing milder. */
export const kill: Executor<'kill'> = async (_step, tools) => {
  const { supervisor, link } = tools;
  link.drop();
  await endMildly(tools);
  await supervisor.kill(KILL_MS);
  return supervisor.engine()?.state === 'none' ? DONE : UNKNOWN;
};

const MILD_MS = 1500;

/** Only with the guard off that the fault suite shows to be needed (D1): an engine that is told to end acknowledges what waits. */
async function endMildly({ supervisor, config }: Tools): Promise<void> {
  const engine = supervisor.engine();
  if (engine?.state !== 'running' || !readGuards(config.test.guards).sigtermAsFence) return;
  process.kill(engine.pid, 'SIGTERM');
  const end = performance.now() + MILD_MS;
  while (supervisor.engine()?.state !== 'none' && performance.now() < end) await sleep(20);
}

/** A1: a new connection, and no other of this account beside it. */
export const adopt: Executor<'adopt'> = async (_step, { link, heartbeat }, { instance }) => {
  heartbeat.set(undefined);
  const session = await link.renew();
  if (session.instance !== instance) return FAILED;
  return (await session.killOwnOthers(ADOPT_MS)) ? DONE : FAILED;
};

export const leave: Executor<'leave'> = async (_step, { onLeave }) => {
  onLeave();
  return DONE;
};
