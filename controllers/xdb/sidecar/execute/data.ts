import { AppError, messageOf } from '#core/errors.ts';
import { run } from '#core/spawn.ts';
import { XDB_PORTS } from '../config.ts';
import { DONE, type Executor, type Tools } from './context.ts';

const KILL_MS = 5000;

/** Birth: an empty volume becomes a database. What a try before this one left without a generation is thrown away. */
export const initialise: Executor<'initialise'> = async (_step, tools, { view, signal }) => {
  const { engine, disk, credentials, failpoints, restoreOrigin, copyUpstream, onClone, onFailedCopy } = tools;
  const known = credentials.current();
  if (known === undefined) throw new AppError('unavailable', credentials.problem() ?? 'the credentials are not known yet');
  await empty(tools);
  const spec = view?.spec.value;
  if (spec?.role === 'slave' && spec.upstream !== undefined) {
    const from = spec.upstream.ours ?? `${spec.upstream.host}:${spec.upstream.port}`;
    try {
      onClone({ from, bytes: 0 });
      await copyUpstream(spec, spec.upstream, known.agent, (bytes) => onClone({ from, bytes }), signal);
      onFailedCopy(undefined);
    } catch (error) {
      // What the master lacks it lacks until somebody mends it.
      onFailedCopy(messageOf(error), error instanceof AppError && error.user);
      throw error;
    } finally {
      onClone(undefined);
    }
  } else if (spec?.origin === undefined) await engine.initialise({ agentPassword: known.agent });
  else {
    const { origin } = spec;
    try {
      await restoreOrigin(spec, origin, (doing) => onClone({ from: origin.from, bytes: 0, doing }), signal);
      onFailedCopy(undefined);
    } catch (error) {
      // A backup that is damaged or gone stays so.
      onFailedCopy(messageOf(error), error instanceof AppError && error.user);
      throw error;
    } finally {
      onClone(undefined);
    }
  }
  await failpoints.at('step:initialise:made');
  await onDisk(tools);
  await disk.beginGeneration();
  return DONE;
};

/** R2: the engine, then the generation, then the data: whatever happens in between, what is left cannot be taken for data. */
export const wipe: Executor<'wipe'> = async (_step, tools) => {
  tools.link.drop();
  await tools.supervisor.kill(KILL_MS);
  await empty(tools);
  return DONE;
};

/** R3: whole or nothing; the generation is written last. */
export const clone: Executor<'clone'> = async (step, tools, { view, addressOf, signal }) => {
  const { disk, takeClone, failpoints, onClone } = tools;
  const sync = view?.protocol.sync?.value;
  const address = addressOf(step.leader);
  if (sync === undefined || address === undefined) throw new AppError('unavailable', `it is not known where ${step.leader} is`);
  await empty(tools);
  try {
    onClone({ from: step.leader, bytes: 0 });
    await takeClone(
      { member: step.leader, address, port: XDB_PORTS.peer },
      { gen: sync.leader.gen, epoch: sync.epoch },
      { signal, onProgress: onClone },
    );
    await failpoints.at('step:clone:loaded');
    await onDisk(tools);
    await disk.beginGeneration();
    return DONE;
  } finally {
    onClone(undefined);
  }
};

const SYNC_MS = 3_600_000;

/**
 * Everything that was written is on the disk, not in the kernel's memory: a generation must not outlive data that a power failure takes. What made them (mbstream, the
 * bootstrap) does not see to it.
 */
async function onDisk({ config }: Tools): Promise<void> {
  const { code, stderr } = await run('sync', ['--file-system', config.paths.data], { timeoutMs: SYNC_MS });
  if (code !== 0) throw new AppError('internal', `the data could not be written to the disk: ${stderr.trim().slice(-300)}`);
}

async function empty({ engine, disk, supervisor }: Tools): Promise<void> {
  if (supervisor.engine()?.state !== 'none') throw new AppError('conflict', 'data are not thrown away while an engine runs on them');
  await disk.endGeneration();
  await engine.wipe();
}
