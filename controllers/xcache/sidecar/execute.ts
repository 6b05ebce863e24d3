import type { ConsulClient } from '#core/consul/client.ts';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import type { Supervisor } from '#member/supervisor.ts';
import { within } from '#member/within.ts';
import { MAX_LAG_SECONDS } from '#xcache/engine/files.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import type { Step } from '#xcache/protocol/types.ts';
import type { CacheCredentials } from '#xcache/schema.ts';
import { type SidecarConfig, XCACHE_PORTS } from './config.ts';
import type { EngineLink } from './engine-link.ts';
import { cutClients, fence } from './fence.ts';
import { handOver } from './hand-over.ts';
import { writeOrder } from './move-order.ts';
import type { RecordsView } from './records.ts';
import { shutDown } from './shut-down.ts';
import { startEngine } from './start-engine.ts';
import type { LeadWriter } from './writer.ts';

/** What steps are done with: made once. */
export interface Tools {
  config: SidecarConfig;
  consul: Pick<ConsulClient, 'request'>;
  credentials: CredentialsSource<CacheCredentials>;
  supervisor: Supervisor;
  link: EngineLink;
  write: LeadWriter;
  address(): string;
  addressOf(member: string): string | undefined;
  /** To another member's engine. @throws AppError `unavailable` */
  connect(address: string): Promise<EngineSession>;
  /** FAILOVER is asked for under this revision. */
  onHandover(rev: number): void;
  onStart(restartSerial: number): void;
  /** The member is to end: the process exits. */
  onLeave(): void;
}

/** Seen in the same turn as the step was decided. */
export interface Moment {
  view: RecordsView | undefined;
  session: EngineSession | undefined;
  facts: EngineFacts | undefined;
}

/** A step that is not over by then has an unknown end, in milliseconds. */
const LIMIT_MS: Partial<Record<Step['do'], number>> = { start: 4000, kill: 6000, handover: 6000, leave: 15_000 };
const LIMIT_ELSE_MS = 2500;
const KILL_MS = 5000;

/** Does one step within its time. Never throws. @returns undefined when it is done, else what is known of why not */
export async function execute(step: Step, tools: Tools, moment: Moment): Promise<string | undefined> {
  try {
    return await within(run(step, tools, moment), LIMIT_MS[step.do] ?? LIMIT_ELSE_MS, step.reason);
  } catch (thrown) {
    const error = toAppError(thrown);
    // What was asked on a connection that is in doubt may still come.
    if (error.code !== 'engine') tools.link.drop();
    return messageOf(error);
  }
}

async function run(step: Step, tools: Tools, { view, session, facts }: Moment): Promise<string | undefined> {
  const engine = () => {
    if (session === undefined) throw new AppError('unavailable', 'there is no connection to the engine');
    return session;
  };
  switch (step.do) {
    case 'wait':
      return undefined;
    case 'start':
      return start(tools, view);
    case 'kill':
      tools.link.drop();
      await tools.supervisor.kill(KILL_MS);
      return undefined;
    case 'write': {
      const outcome = await tools.write({
        ...{ next: step.next, at: step.at, rev: view?.protocol.lead?.value.rev ?? 0, member: tools.config.member },
        ...(step.birth === undefined ? {} : { birth: step.birth }),
      });
      return outcome.result === 'done' ? undefined : outcome.why;
    }
    case 'fence':
      await fence(engine());
      if (step.cut) await cutClients(engine());
      return undefined;
    case 'open':
      await engine().call('CONFIG', 'SET', 'min-replicas-max-lag', MAX_LAG_SECONDS, 'min-replicas-to-write', step.minReplicas);
      return undefined;
    case 'follow': {
      const address = tools.addressOf(step.member);
      if (address === undefined) return `where ${step.member} is is not known`;
      await engine().call('REPLICAOF', address, XCACHE_PORTS.engine);
      return undefined;
    }
    case 'detach':
      await fence(engine());
      await engine().call('REPLICAOF', 'NO', 'ONE');
      return undefined;
    case 'handover':
      tools.onHandover(view?.protocol.lead?.value.rev ?? 0);
      return handOver(engine(), { address: tools.addressOf(step.target), connect: tools.connect });
    case 'move':
      return moved(step, tools, view);
    case 'leave':
      if (session !== undefined && facts !== undefined) await shutDown(session, tools, view?.spec.value.persistence);
      tools.onLeave();
      return undefined;
  }
}

async function start(
  { config, credentials, supervisor, address, onStart }: Tools,
  view: RecordsView | undefined,
): Promise<string | undefined> {
  const secrets = credentials.current();
  if (view === undefined || secrets === undefined) return 'the specification and the credentials are not known yet';
  const spec = view.spec.value;
  onStart(spec.restartSerial);
  await startEngine({
    ...{
      paths: config.paths,
      supervisor,
      spec,
      member: config.member,
      credentials: secrets,
      address: address(),
      port: XCACHE_PORTS.engine,
    },
  });
  return undefined;
}

async function moved(
  step: Extract<Step, { do: 'move' }>,
  { consul, config }: Tools,
  view: RecordsView | undefined,
): Promise<string | undefined> {
  const order = view?.protocol.move;
  if (order === undefined || order.index !== step.at) return 'the order has changed';
  return writeOrder(consul, config.cache, order, step);
}
