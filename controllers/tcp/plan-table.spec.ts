import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serverName } from '#tcp/names.ts';
import { isHeld, leavingPeers, type ObservedServer, planTable } from '#tcp/plan-table.ts';
import { TcpBackend, type TcpPeer, TcpTable } from '#tcp/schema.ts';
import { engineWeights } from '#tcp/weights.ts';

/** The part of HAProxy that the plan relies on, as the real one was seen to behave. */
class FakeHaproxy {
  servers = new Map<string, ObservedServer>();

  observe(): ObservedServer[] {
    return [...this.servers.values()].map((server) => ({ ...server }));
  }

  run(command: string): void {
    const words = command.split(' ');
    const at = words.find((word) => word.startsWith('be.'))?.split('/')[1] ?? '';
    const server = this.servers.get(at);
    const [verb, object] = words;
    if (verb === 'add') {
      if (server) throw new Error(`${at} is there already`);
      const [, address, port] = /^\[?(.*?)\]?:(\d+)$/.exec(words[3] ?? '') ?? [];
      this.servers.set(at, {
        server: at,
        address: address!,
        port: Number(port),
        admin: 'maint',
        weight: Number(words[5]),
        checked: false,
        active: 0,
      });
      return;
    }
    if (!server) throw new Error(`no server ${at} for ${command}`);
    if (verb === 'enable' && object === 'health') server.checked = true;
    else if (verb === 'shutdown') server.active = 0;
    else if (verb === 'wait') return;
    else if (verb === 'del') {
      if (server.admin === 'maint' && server.active === 0) this.servers.delete(at);
    } else if (words[3] === 'state') server.admin = words[4] as ObservedServer['admin'];
    else if (words[3] === 'weight') server.weight = Number(words[4]);
    else if (words[3] === 'addr') {
      if (server.admin === 'ready') throw new Error('an address was changed while connections could come');
      server.address = words[4]!;
      server.port = Number(words[6]);
    } else throw new Error(`not understood: ${command}`);
  }
}

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'x:1', 'x_1');
const peer: fc.Arbitrary<TcpPeer> = fc.record({
  id,
  address: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1'),
  port: fc.constantFrom(80, 81),
  weight: fc.integer({ min: 1, max: 1000 }),
  state: fc.constantFrom('up' as const, 'draining' as const, 'down' as const),
});
const tableOf = (peers: TcpPeer[]): TcpTable => TcpTable.parse({ backend: 'web', version: 1, peers });
const table = fc.uniqueArray(peer, { selector: ({ id }) => id, maxLength: 6 }).map(tableOf);
const backend = fc.record({
  name: fc.constant('web'),
  algorithm: fc.constantFrom('round_robin' as const, 'least_conn' as const, 'hash' as const),
  check: fc.constantFrom('none' as const, {}),
  onMarkedDown: fc.constantFrom('none' as const, 'shutdown-sessions' as const),
  onRemoved: fc.constantFrom('drain' as const, 'cut' as const),
});
const world = fc.record({
  backend: backend.map((given) => TcpBackend.parse(given)),
  before: table,
  after: table,
  active: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 6, maxLength: 6 }),
});

function converge(engine: FakeHaproxy, backend: TcpBackend, wanted: TcpTable): void {
  for (let turn = 0; turn < 4; turn += 1) {
    const steps = planTable(backend, wanted, engine.observe());
    if (steps.length === 0) return;
    for (const command of steps.flatMap((step) => step.commands)) engine.run(command);
  }
  expect(planTable(backend, wanted, engine.observe())).toEqual([]);
}

function settled({ backend, before, active }: { backend: TcpBackend; before: TcpTable; active: number[] }): FakeHaproxy {
  const engine = new FakeHaproxy();
  converge(engine, backend, before);
  [...engine.servers.values()].forEach((server, index) => {
    server.active = server.admin === 'maint' ? 0 : (active[index] ?? 0);
  });
  return engine;
}

describe('the plan of a table', () => {
  it('converges: HAProxy holds the table, and only peers with connections are left over', () => {
    fc.assert(
      fc.property(world, ({ backend, before, after, active }) => {
        const engine = settled({ backend, before, active });
        converge(engine, backend, after);
        const weights = engineWeights(
          backend.algorithm,
          after.peers.map(({ weight }) => weight),
        );
        after.peers.forEach((peer, index) => {
          const server = engine.servers.get(serverName(peer.id));
          const admin = { up: 'ready', draining: 'drain', down: 'maint' }[peer.state];
          expect(server).toMatchObject({
            address: peer.address,
            port: peer.port,
            admin,
            weight: weights[index],
            checked: backend.check !== 'none',
          });
        });
        for (const { active } of leavingPeers(after, engine.observe())) {
          expect(backend.onRemoved).toBe('drain');
          expect(active).toBeGreaterThan(0);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('cuts no connection of a peer that drains, leaves by draining or stays as it is', () => {
    fc.assert(
      fc.property(world, ({ backend, before, after, active }) => {
        const engine = settled({ backend, before, active });
        const connections = new Map(engine.observe().map((server) => [server.server, server]));
        converge(engine, backend, after);
        for (const [server, was] of connections) {
          const peer = after.peers.find(({ id }) => serverName(id) === server);
          const moved = peer !== undefined && (peer.address !== was.address || peer.port !== was.port);
          const keeps =
            peer === undefined ? backend.onRemoved === 'drain' : !moved && (peer.state !== 'down' || backend.onMarkedDown === 'none');
          if (keeps) expect(engine.servers.get(server)?.active ?? 0).toBe(was.active);
          else if (peer === undefined) expect(engine.servers.has(server)).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('names no server that is as it should be', () => {
    fc.assert(
      fc.property(world, peer, ({ backend, before, active }, changed) => {
        const engine = settled({ backend, before, active });
        expect(planTable(backend, before, engine.observe())).toEqual([]);
        // On a hash ring no weight depends on others, so that one change means one server.
        const ring = { ...backend, algorithm: 'hash' as const };
        const onRing = settled({ backend: ring, before, active });
        const others = before.peers.filter(({ id }) => id !== changed.id);
        const touched = planTable(ring, tableOf([...others, changed]), onRing.observe()).map((step) => step.peer);
        expect(touched.filter((name) => name !== changed.id)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('closes the old master before it opens the new one, and waits for removal last', () => {
    const rw = TcpBackend.parse({ name: 'web', onMarkedDown: 'shutdown-sessions', onRemoved: 'cut' });
    const master = (id: string) => tableOf([{ id, address: '10.0.0.1', port: 80, weight: 100, state: 'up' }]);
    const engine = settled({ backend: rw, before: master('a'), active: [2] });
    const commands = planTable(rw, master('b'), engine.observe()).flatMap((step) => step.commands);
    expect(commands).toEqual([
      'set server be.web/a state maint',
      'shutdown sessions server be.web/a',
      'add server be.web/b 10.0.0.1:80 weight 100 on-marked-down shutdown-sessions',
      'set server be.web/b state ready',
      'wait 300ms srv-removable be.web/a',
      'del server be.web/a',
    ]);
  });

  it('is held when all that is left are connections of a cut peer that do not end, and not before it was closed', () => {
    const rw = TcpBackend.parse({ name: 'web', onMarkedDown: 'shutdown-sessions', onRemoved: 'cut' });
    const master = (id: string) => tableOf([{ id, address: '10.0.0.1', port: 80, weight: 100, state: 'up' }]);
    const engine = settled({ backend: rw, before: master('a'), active: [2] });
    const held = (wanted: TcpTable) => isHeld(wanted, engine.observe(), planTable(rw, wanted, engine.observe()));
    expect(held(master('a'))).toBe(true);
    expect(held(tableOf([]))).toBe(false);
    for (const command of planTable(rw, tableOf([]), engine.observe()).flatMap((step) => step.commands)) {
      if (!command.startsWith('shutdown')) engine.run(command);
    }
    expect(engine.servers.get('a')).toMatchObject({ admin: 'maint', active: 2 });
    expect(held(tableOf([]))).toBe(true);
    // Somebody new is still to be opened, or the old one again.
    expect(held(master('b'))).toBe(false);
    expect(held(master('a'))).toBe(false);
  });

  it('opens the new peer before it drains the old one where connections may go on', () => {
    const web = TcpBackend.parse({ name: 'web' });
    const only = (id: string) => tableOf([{ id, address: '10.0.0.1', port: 80, weight: 100, state: 'up' }]);
    const engine = settled({ backend: web, before: only('a'), active: [2] });
    expect(planTable(web, only('b'), engine.observe()).map(({ kind, peer }) => `${kind} ${peer}`)).toEqual(['add b', 'drain a']);
  });
});
