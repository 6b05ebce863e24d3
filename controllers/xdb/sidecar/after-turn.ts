import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import type { Endpoint } from '#member/endpoint.ts';
import type { MemberSession } from '#member/session.ts';
import type { LeaderWatch } from '#member/watch-leader.ts';
import type { Credentials, MemberStatus } from '#xdb/schema.ts';
import type { AccountsKeeper } from './accounts.ts';
import type { createAcked } from './acked.ts';
import { XDB_PORTS } from './config.ts';
import { endpointOf } from './endpoint-table.ts';
import type { HeartbeatWriter } from './heartbeat.ts';
import type { createKnownAddresses } from './known-addresses.ts';
import type { ParametersKeeper } from './parameters.ts';
import { type Part, partOf } from './part.ts';
import type { Positions } from './positions.ts';
import type { Turn } from './turn.ts';

export interface AfterTurnOptions {
  member: string;
  /** Of this member, now. */
  address(): string;
  addresses: ReturnType<typeof createKnownAddresses>;
  endpoint: Endpoint;
  heartbeat: Pick<HeartbeatWriter, 'set'>;
  acked: ReturnType<typeof createAcked>;
  accounts: Pick<AccountsKeeper, 'set'>;
  parameters: Pick<ParametersKeeper, 'set'>;
  watch: Pick<LeaderWatch, 'aim'>;
  positions: Pick<Positions, 'want'>;
  session: Pick<MemberSession<MemberStatus>, 'releaseLock'>;
  credentials: Pick<CredentialsSource<Credentials>, 'current'>;
  log: Logger;
}

/** Everything that rests on what a turn saw and is no step of the protocol. */
export function createAfterTurn(options: AfterTurnOptions): (turn: Turn) => void {
  const { member, addresses, endpoint, heartbeat, accounts, parameters, watch, positions, session, credentials, log } = options;

  function leadEndpoint({ view }: Turn): void {
    if (view === undefined) return;
    const table = endpointOf(view, { member, address: options.address() }, endpoint.current());
    if (table !== undefined) endpoint.lead(table);
  }

  function beat({ writes }: Part): void {
    heartbeat.set(writes === undefined ? undefined : { epoch: writes.sync.epoch, member, instance: writes.facts.instance });
  }

  function keepEngine({ view, facts, local }: Turn, { writes }: Part): void {
    const spec = view?.spec.value;
    const known = credentials.current();
    accounts.set(
      writes === undefined || spec === undefined || known === undefined
        ? undefined
        : {
            where: `${writes.facts.instance} ${writes.sync.epoch}`,
            ...{ database: spec.database, users: known.users, followers: known.followers ?? {} },
          },
    );
    // Before A1 it would be one of those whose connections are ended.
    const adopted = facts !== undefined && local.memory.adopted && local.memory.instance === facts.instance;
    parameters.set(
      adopted && spec !== undefined ? { instance: facts.instance, parameters: spec.parameters, memoryBytes: spec.memoryBytes } : undefined,
    );
  }

  function watchLeader({ sync }: Part): void {
    const leader = sync === undefined || sync.leader.id === member ? undefined : sync.leader.id;
    const at = leader === undefined ? undefined : addresses.of(leader);
    watch.aim(
      leader === undefined || at === undefined ? undefined : { member: leader, address: at.address, port: XDB_PORTS.engine, node: at.node },
    );
  }

  /** While there is no sync slave the leader wants to know how near its followers are. */
  function askFollowers({ heads }: Part): void {
    const followers = new Set(heads === undefined || heads.sync.sync !== null ? [] : heads.facts.dumps.map((dump) => dump.member));
    positions.want(
      [...followers].flatMap((id) => {
        const found = addresses.of(id);
        return found === undefined ? [] : [{ member: id, address: found.address, port: XDB_PORTS.peer }];
      }),
    );
  }

  /** A leader whose engine is gone lets its sync slave take over at once, rather than after its session. */
  function releaseLock({ view, local }: Turn, { leads, sync }: Part): void {
    const records = view?.protocol;
    const heir = sync?.sync?.id;
    if (!leads || heir === undefined || records === undefined || local.engine.state !== 'down' || local.stopping?.then === 'restart')
      return;
    if (records.lockHolder !== member || records.paused || !records.present.includes(heir)) return;
    session.releaseLock().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the lock could not be given back'));
  }

  return (turn) => {
    const part = partOf(turn);
    leadEndpoint(turn);
    beat(part);
    keepEngine(turn, part);
    watchLeader(part);
    askFollowers(part);
    options.acked(part, turn.local);
    releaseLock(turn, part);
  };
}
