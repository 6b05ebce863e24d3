import { createAgeOf } from '#core/age-of.ts';
import type { EngineFacts } from '#xcache/engine/info.ts';
import { FENCED } from '#xcache/engine/info.ts';
import { masterGone } from '#xcache/protocol/situation.ts';
import type { Budgets, EngineState, Guards, Local, Peer, Records } from '#xcache/protocol/types.ts';
import type { EngineLook } from './engine-link.ts';
import type { Peers } from './peers.ts';
import type { RecordsView } from './records.ts';

export interface Observer {
  /** A read that succeeded has ended: who has moved since the one before. @param asked when it was begun */
  heard(view: RecordsView, asked: number): void;
  recordsOf(view: RecordsView): Records;
  localOf(seen: Seen): Local;
}

export interface Seen {
  records: Records | undefined;
  look: EngineLook;
  epoch: number;
  consulAgeMs: number;
  hostDead: boolean;
  handoverTriedRev: number;
  endpointRev: number;
  doubt: Local['doubt'];
  stoppingAt: number | undefined;
}

export interface ObserverOptions {
  me: string;
  peers: Peers;
  memberAt(address: string): string | undefined;
  budgets: Budgets;
  guards: Guards;
  now?: () => number;
}

/** Reads that are further apart say nothing of who was silent in between, in milliseconds. */
const BLIND_MS = 1000;

/** Keeps what looks need of one another: since when things are as they are. */
export function createObserver({ me, peers, memberAt, budgets, guards, now = () => performance.now() }: ObserverOptions): Observer {
  const beats = new Map<string, { what: string; at: number }>();
  let heardAt = Number.NEGATIVE_INFINITY;
  const stateAge = createAgeOf(now);
  const goneAge = createAgeOf(now);

  const engineOf = (look: EngineLook): EngineState => {
    if (look.state !== 'running') return look;
    const { facts } = look;
    return {
      ...{ state: 'running', run: facts.run, role: facts.role, linkUp: facts.linkUp, offset: facts.offset, empty: facts.empty },
      following: facts.masterAddress === undefined ? undefined : (memberAt(facts.masterAddress) ?? 'other'),
      ...{ fenced: isFenced(facts), minReplicas: facts.minReplicas, failingOver: facts.failingOver },
      replicas: facts.replicas.flatMap(({ address, ackMs, offset }) => {
        const id = memberAt(address);
        return id === undefined ? [] : [{ id, ackMs, offset }];
      }),
    };
  };

  return {
    heard(view, asked) {
      const blind = asked - heardAt > BLIND_MS;
      heardAt = asked;
      for (const [id, { beat, time }] of Object.entries(view.statuses)) {
        const what = `${beat} ${time}`;
        if (blind || beats.get(id)?.what !== what) beats.set(id, { what, at: asked });
      }
    },
    recordsOf: (view) => ({
      ...view.protocol,
      beatAgeMs: Object.fromEntries([...beats].map(([id, { at }]) => [id, heardAt - at])),
    }),
    localOf({ records, look, ...seen }) {
      const lead = records?.lead?.value;
      const engine = engineOf(look);
      const local: Local = {
        ...{ me, engine, epoch: seen.epoch, consulAgeMs: seen.consulAgeMs, hostDead: seen.hostDead },
        peers: Object.fromEntries((records?.members ?? []).flatMap((id) => peerOf(peers, id))),
        stateAgeMs: stateAge(lead === undefined ? undefined : `${lead.state} ${lead.epoch} ${lead.master.id}`),
        goneAgeMs: 0,
        handoverTriedRev: seen.handoverTriedRev,
        endpointRev: seen.endpointRev,
        doubt: seen.doubt,
        stopping: seen.stoppingAt === undefined ? undefined : { ageMs: now() - seen.stoppingAt },
      };
      const isGone =
        records !== undefined &&
        lead !== undefined &&
        engine.state === 'running' &&
        lead.master.id !== me &&
        masterGone({ me, records, lead, at: 0, local, engine, budgets, guards });
      local.goneAgeMs = goneAge(isGone ? `${lead.epoch} ${lead.master.id}` : undefined);
      return local;
    },
  };
}

function isFenced(facts: EngineFacts): boolean {
  return facts.minReplicas >= FENCED;
}

function peerOf(peers: Peers, id: string): [string, Peer][] {
  const one = peers.of(id);
  if (one === undefined) return [];
  const { facts, silentMs } = one;
  if (facts === undefined) return [[id, { silentMs }]];
  const { run, role, offset, linkUp, minReplicas, empty } = facts;
  return [[id, { silentMs, seen: { run, role, offset, linkUp, minReplicas, empty, fenced: isFenced(facts) } }]];
}
