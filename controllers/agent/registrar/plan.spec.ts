import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AgentService, HealthCheck } from '#core/consul/client.ts';
import { Target } from '#xlb/schema.ts';
import type { ObservedContainer } from './observe.ts';
import { isOurs, type Observed, planRegistrations, type Step } from './plan.ts';
import type { HostContext } from './wanted.ts';

const host: HostContext = { hostId: 'h1', hostAddress: '10.0.0.1', poolNetwork: 'xcaas' };

function container(over: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: 'a'.repeat(64),
    name: 'web-1',
    running: true,
    paused: false,
    health: 'none',
    labels: { 'xcaas.service': 'web:8080' },
    networks: { xcaas: '10.1.0.2' },
    networkMode: 'xcaas',
    exposed: [],
    ...over,
  };
}

function target(over: Partial<Target> = {}): Target {
  return Target.parse({
    v: 1,
    id: 't1',
    lb: 'front',
    group: 'app',
    container: { by: 'name', value: 'web-1' },
    port: 80,
    network: 'xcaas',
    ...over,
  });
}

interface World {
  services: Map<string, AgentService>;
  checks: Map<string, HealthCheck>;
}

/** What Consul's agent does with the steps. */
function apply(world: World, steps: readonly Step[]): World {
  const services = new Map(world.services);
  const checks = new Map(world.checks);
  for (const step of steps) {
    if (step.kind === 'deregister') {
      services.delete(step.id);
      checks.delete(step.id);
    } else if (step.kind === 'register') {
      const { id, name, address, port, tags = [], meta = {}, weights = { passing: 1, warning: 1 }, check } = step.service;
      services.set(id, { id, name, address, port, tags, meta, weights });
      if (check) checks.set(check.id, { checkId: check.id, status: check.status ?? 'critical', serviceId: id, output: '' });
    } else if (step.kind === 'push') {
      const check = checks.get(step.id);
      if (check === undefined) throw new Error(`a push for ${step.id}, which is not there`);
      checks.set(step.id, { ...check, status: step.status });
    }
  }
  return { services, checks };
}

function observe(world: World, over: Partial<Observed>): Observed {
  return {
    containers: [],
    targets: [],
    drained: new Set(),
    services: [...world.services.values()],
    checks: [...world.checks.values()],
    ...over,
  };
}

const nothing: World = { services: new Map(), checks: new Map() };
const id = `xcaas:h1:${'a'.repeat(12)}:web:8080`;

describe('plan', () => {
  test('a container without a HEALTHCHECK is registered passing in one step', () => {
    const { steps } = planRegistrations(observe(nothing, { containers: [container()] }), host);
    expect(steps).toMatchObject([
      {
        kind: 'register',
        service: { id, name: 'web', address: '10.1.0.2', port: 8080, meta: { state: 'up', xcaas: '1' }, check: { status: 'passing' } },
      },
    ]);
  });

  test.each([
    [{ health: 'starting' as const }, 'critical'],
    [{ health: 'unhealthy' as const }, 'critical'],
    [{ health: 'healthy' as const }, 'passing'],
    [{ paused: true }, 'critical'],
    [{ health: 'starting' as const, labels: { 'xcaas.service': 'web:8080', 'xcaas.service.check': 'running' } }, 'passing'],
  ])('%j is %s', (over, status) => {
    const { steps } = planRegistrations(observe(nothing, { containers: [container(over)] }), host);
    expect(steps).toMatchObject([{ kind: 'register', service: { check: { status } } }]);
  });

  test('a container that ended is deregistered, one of its own alone too', () => {
    const world = apply(nothing, planRegistrations(observe(nothing, { containers: [container()] }), host).steps);
    const gone = planRegistrations(observe(world, {}), host, 'a'.repeat(12));
    expect(gone.steps).toMatchObject([{ kind: 'deregister', id, reason: 'its container is gone' }]);
    const stopped = planRegistrations(observe(world, { containers: [container({ running: false })] }), host);
    expect(stopped.steps).toMatchObject([{ kind: 'deregister', reason: 'web-1 does not run' }]);
  });

  test('draining is a change of meta, not of health', () => {
    const world = apply(nothing, planRegistrations(observe(nothing, { containers: [container()] }), host).steps);
    const { steps } = planRegistrations(observe(world, { containers: [container()], drained: new Set([container().id]) }), host);
    expect(steps).toMatchObject([{ kind: 'register', service: { meta: { state: 'draining' }, check: { status: 'passing' } } }]);
  });

  test('a service whose check somebody removed is registered again', () => {
    const world = apply(nothing, planRegistrations(observe(nothing, { containers: [container()] }), host).steps);
    const { steps } = planRegistrations(observe({ ...world, checks: new Map() }, { containers: [container()] }), host);
    expect(steps).toMatchObject([{ kind: 'register', reason: 'its check is gone' }]);
  });

  test('a target by name is registered as the service of its group, and its container put on the network first', () => {
    const bare = container({ labels: {}, networks: { other: '172.20.0.2' } });
    const before = planRegistrations(observe(nothing, { containers: [bare], targets: [target()] }), host);
    expect(before.steps).toMatchObject([{ kind: 'attach', network: 'xcaas' }]);
    const attached = container({ labels: {}, networks: { other: '172.20.0.2', xcaas: '10.1.0.9' } });
    const { steps } = planRegistrations(observe(nothing, { containers: [attached], targets: [target({ weight: 7, drain: true })] }), host);
    expect(steps).toMatchObject([
      {
        kind: 'register',
        service: {
          name: 'xlb-front-app',
          address: '10.1.0.9',
          port: 80,
          weights: { passing: 7 },
          meta: { state: 'draining', target: 't1' },
        },
      },
    ]);
  });

  test('a target by id needs twelve digits and follows only that container', () => {
    const by = (value: string) =>
      planRegistrations(
        observe(nothing, { containers: [container({ labels: {} })], targets: [target({ container: { by: 'id', value } })] }),
        host,
      );
    expect(by('a'.repeat(12)).steps).toHaveLength(1);
    expect(by('a').steps).toHaveLength(0);
    expect(by('b'.repeat(12)).steps).toHaveLength(0);
  });

  test('while the targets are not known, what was registered for one stays with its container and goes with it', () => {
    const bare = container({ labels: {} });
    const world = apply(nothing, planRegistrations(observe(nothing, { containers: [bare], targets: [target()] }), host).steps);
    const kept = planRegistrations(observe(world, { containers: [bare], targets: undefined }), host);
    expect(kept.steps).toMatchObject([{ kind: 'push', status: 'passing' }]);
    const gone = planRegistrations(observe(world, { containers: [], targets: undefined }), host);
    expect(gone.steps).toMatchObject([{ kind: 'deregister' }]);
    const removed = planRegistrations(observe(world, { containers: [bare], targets: [] }), host);
    expect(removed.steps).toMatchObject([{ kind: 'deregister', reason: 'web-1 no longer asks for it' }]);
  });

  test.each([
    [{ networks: { a: '1.1.1.1', b: '2.2.2.2' }, networkMode: 'a' }, /say which one with xcaas.service.network/],
    [{ networks: {}, networkMode: 'none' }, /no address on any network/],
    [{ labels: { 'xcaas.service': 'web:80', 'xcaas.service.network': 'x' } }, /not on the network x/],
  ])('%j: not registered, and said why', (over, message) => {
    const { steps, problems } = planRegistrations(observe(nothing, { containers: [container(over as Partial<ObservedContainer>)] }), host);
    expect(steps).toEqual([]);
    expect(problems.join()).toMatch(message);
  });

  test('on the host network the address is the host’s', () => {
    const { steps } = planRegistrations(observe(nothing, { containers: [container({ networkMode: 'host', networks: {} })] }), host);
    expect(steps).toMatchObject([{ kind: 'register', service: { address: '10.0.0.1' } }]);
  });
});

describe('properties', () => {
  const arbitraryContainer = fc.record({
    id: fc.integer({ min: 0, max: 5 }).map((n) => String(n).repeat(64)),
    name: fc.constantFrom('web-1', 'web-2', 'db'),
    running: fc.boolean(),
    paused: fc.boolean(),
    health: fc.constantFrom('none', 'starting', 'healthy', 'unhealthy'),
    labels: fc.constantFrom({}, { 'xcaas.service': 'web:80' }, { 'xcaas.service': 'web:80,admin:81' }, { 'xcaas.service': 'broken' }),
    networks: fc.constantFrom({}, { xcaas: '10.1.0.2' }, { other: '10.2.0.2' }, { xcaas: '10.1.0.3', other: '10.2.0.3' }),
    networkMode: fc.constantFrom('xcaas', 'host', 'none', 'bridge'),
    exposed: fc.constant([]),
  }) as fc.Arbitrary<ObservedContainer>;
  const containers = fc.uniqueArray(arbitraryContainer, { selector: ({ id }) => id, maxLength: 5 });
  const targets = fc.option(
    fc.array(
      fc
        .record({
          id: fc.constantFrom('t1', 't2'),
          drain: fc.boolean(),
          container: fc.record({ by: fc.constant('name' as const), value: fc.constantFrom('web-1', 'db') }),
        })
        .map(target),
      { maxLength: 3 },
    ),
    { nil: undefined },
  );
  const state = fc.record({
    containers,
    targets,
    drained: fc.uniqueArray(fc.integer({ min: 0, max: 5 }).map((n) => String(n).repeat(64))).map((ids) => new Set(ids)),
  });
  const service = (id: string, meta: Record<string, string>): AgentService => ({
    id,
    name: 'web',
    address: '1.2.3.4',
    port: 80,
    tags: [],
    meta,
    weights: { passing: 1, warning: 1 },
  });
  const foreignId = fc.constantFrom('other', 'xcaas:h2:000000000000:web:80', 'xcaas:h1:000000000000:web:80');
  const foreignMeta = fc.constantFrom<Record<string, string>>({}, { xcaas: '0' });
  const foreign = fc.array(
    fc.tuple(foreignId, foreignMeta).map(([id, meta]) => service(id, meta)),
    { maxLength: 3 },
  );

  test('from any state to any other: converges in one turn, then only pushes; every running container’s check says the truth', () => {
    fc.assert(
      fc.property(state, state, (first, second) => {
        const before = apply(nothing, planRegistrations(observe(nothing, first), host).steps);
        const after = apply(before, planRegistrations(observe(before, second), host).steps);
        const again = planRegistrations(observe(after, second), host);
        expect(again.steps.filter(({ kind }) => kind !== 'push' && kind !== 'attach')).toEqual([]);
        expect(again.wanted).toBe(after.services.size);
        for (const service of after.services.values()) {
          const owner = second.containers.find((one) => one.id.startsWith(service.meta.container!));
          expect(owner?.running).toBe(true);
          expect(after.checks.get(service.id)?.status).toBe(
            owner!.paused || owner!.health === 'starting' || owner!.health === 'unhealthy' ? 'critical' : 'passing',
          );
        }
      }),
    );
  });

  test('others’ registrations are never touched', () => {
    fc.assert(
      fc.property(state, foreign, (present, others) => {
        const theirs = others.filter((service) => !isOurs(service, host.hostId));
        const { steps } = planRegistrations({ ...present, services: theirs, checks: [] }, host);
        for (const step of steps) if (step.kind === 'deregister') expect(theirs.map(({ id }) => id)).not.toContain(step.id);
      }),
    );
  });

  test('a look at one container gives exactly its share of the full plan', () => {
    fc.assert(
      fc.property(state, state, (first, second) => {
        const world = apply(nothing, planRegistrations(observe(nothing, first), host).steps);
        const full = planRegistrations(observe(world, second), host).steps;
        for (let n = 0; n <= 5; n++) {
          const short = String(n).repeat(12);
          const share = planRegistrations(
            observe(world, { ...second, containers: second.containers.filter((one) => one.id.startsWith(short)) }),
            host,
            short,
          ).steps;
          const mine = full.filter((step) =>
            (step.kind === 'attach' ? step.container : step.kind === 'register' ? step.service.id : step.id).includes(short),
          );
          expect(share.map(({ kind }) => kind)).toEqual(mine.map(({ kind }) => kind));
        }
      }),
    );
  });
});
