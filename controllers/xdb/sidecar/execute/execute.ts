import { type AppError, messageOf, toAppError } from '#core/errors.ts';
import { within } from '#member/within.ts';
import type { Outcome, Step } from '#xdb/protocol/types.ts';
import { DONE, type Moment, type Tools } from './context.ts';
import * as data from './data.ts';
import * as processes from './process.ts';
import * as record from './record.ts';
import * as replication from './replication.ts';
import * as serving from './serving.ts';

/** No engine runs meanwhile, and what they began goes on in the data directory: nothing else is done there before they have ended. */
const TO_ITS_END = 7 * 86_400_000;

/**
 * Longest time that a step may take, in milliseconds; the sidecar says meanwhile that it is well. A step that is not over by then has an unknown end: its connection is
 * given up, and what it began may still happen.
 */
const LIMIT_MS: Record<Step['do'], number> = {
  wait: 100,
  initialise: TO_ITS_END,
  start: 9000,
  adopt: 5000,
  kill: 6000,
  write: 4000,
  allow_dumps: 5000,
  semi_sync_master: 4000,
  mark_master: 5000,
  read_only: 7000,
  sample: 3000,
  // A try to connect to a host that is gone is waited for (slave_net_timeout).
  stop_receiving: 7000,
  drain: 30_000,
  forget_master: 5000,
  compare: 5000,
  publish: 3000,
  follow: 6000,
  follow_upstream: 10_000,
  wipe: TO_ITS_END,
  clone: TO_ITS_END,
  kill_users: 5000,
  move: 4000,
  take_lock: 3000,
  leave: 3000,
};

function run(step: Step, tools: Tools, moment: Moment): Promise<Outcome> {
  switch (step.do) {
    case 'wait':
      return Promise.resolve(DONE);
    case 'initialise':
      return data.initialise(step, tools, moment);
    case 'wipe':
      return data.wipe(step, tools, moment);
    case 'clone':
      return data.clone(step, tools, moment);
    case 'start':
      return processes.start(step, tools, moment);
    case 'adopt':
      return processes.adopt(step, tools, moment);
    case 'kill':
      return processes.kill(step, tools, moment);
    case 'leave':
      return processes.leave(step, tools, moment);
    case 'write':
      return record.write(step, tools, moment);
    case 'publish':
      return record.publish(step, tools, moment);
    case 'move':
      return record.move(step, tools, moment);
    case 'take_lock':
      return record.takeLock(step, tools, moment);
    case 'mark_master':
      return serving.markMaster(step, tools, moment);
    case 'read_only':
      return serving.readOnly(step, tools, moment);
    case 'kill_users':
      return serving.killUsers(step, tools, moment);
    case 'allow_dumps':
      return replication.allowDumps(step, tools, moment);
    case 'semi_sync_master':
      return replication.semiSyncMaster(step, tools, moment);
    case 'sample':
      return replication.sample(step, tools, moment);
    case 'stop_receiving':
      return replication.stopReceiving(step, tools, moment);
    case 'drain':
      return replication.drain(step, tools, moment);
    case 'forget_master':
      return replication.forgetMaster(step, tools, moment);
    case 'compare':
      return replication.compare(step, tools, moment);
    case 'follow':
      return replication.follow(step, tools, moment);
    case 'follow_upstream':
      return replication.followUpstream(step, tools, moment);
  }
}

/** Does one step within its time and says how it ended. Never throws. */
export async function execute(step: Step, tools: Tools, moment: Moment): Promise<Outcome & { why?: string }> {
  const name = `step:${step.do}`;
  try {
    await tools.failpoints.at(`${name}:before`);
    const outcome = await within(run(step, tools, moment), LIMIT_MS[step.do], step.reason);
    await tools.failpoints.at(`${name}:after`);
    return outcome;
  } catch (thrown) {
    const error = toAppError(thrown);
    const isRefusal = isRefused(error);
    // What was asked on a connection that is in doubt may still come.
    if (!isRefusal) tools.link.drop();
    return { is: isRefusal ? 'failed' : 'unknown', why: messageOf(error) };
  }
}

/** The other side has judged. Everything else (no answer, a broken connection, a fault of ours) leaves it open. */
function isRefused(error: AppError): boolean {
  return error.code !== 'timeout' && error.code !== 'unavailable' && error.code !== 'internal';
}
