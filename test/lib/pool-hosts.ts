import type { Host } from '#pool/host.ts';

const GIB = 2 ** 30;

/** A host for tests, known by a number: id, name `host-<n>`, address and everything else unless told otherwise. */
export function testHost(
  n: number,
  changes: Partial<Host['spec']> & {
    cpus?: number;
    memoryGib?: number;
    diskGib?: number;
    alive?: boolean;
    facts?: Host['facts'] | null;
  } = {},
): Host {
  const { cpus = 4, memoryGib = 8, diskGib = 100, alive = true, facts, ...spec } = changes;
  return {
    spec: {
      v: 1,
      id: testHostId(n),
      name: `host-${n}`,
      address: `10.0.0.${n}`,
      group: 'group1',
      rack: 'rack1',
      labels: {},
      manager: false,
      drained: false,
      ...spec,
    },
    facts:
      facts === null
        ? undefined
        : (facts ?? {
            v: 1,
            cpus,
            memoryBytes: memoryGib * GIB,
            diskBytes: diskGib * GIB,
            engineVersion: '28.5.2',
            swarmManager: spec.manager ?? false,
            consulServer: spec.manager ?? false,
            engineLabels: {},
            version: '0.1.0',
            time: '2026-01-01T00:00:00.000Z',
          }),
    alive,
    reserved: { cpus: 0, memoryBytes: 0, diskBytes: 0 },
  };
}

export function testHostId(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
}
