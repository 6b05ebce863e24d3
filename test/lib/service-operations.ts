import type { ConsulClient } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import type { ImageReport, NetworkAnswer, VolumeReport } from '#pool/agent-api.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import { createEvents } from '#pool/events.ts';
import type { Host } from '#pool/host.ts';
import { findAppliance } from '#pool/images.ts';
import type { ServiceDeps } from '#pool/service-deps.ts';
import type { ServiceInUse } from '#pool/services.ts';
import { createFakeKv } from './fake-kv.ts';

/** The API's operations on services with data over a Consul in memory, for unit tests; agents answer what they are told here. */

export interface Asked {
  member: string;
  method: string;
  path: string;
}

export interface ServiceWorldOptions {
  hosts: Host[];
  services?: ServiceInUse[] | undefined;
  volumes?: VolumeReport[] | undefined;
  images?: ImageReport[] | undefined;
  /** What sidecars answer; `{}` if not given. */
  admin?: ((request: Asked & { body: unknown }) => unknown) | undefined;
  now(): Date;
}

const image = (tag: string, appliance?: string): ImageReport => ({
  id: `sha256:${tag.length.toString(16).repeat(64).slice(0, 64)}`,
  tags: [tag],
  sizeBytes: 1,
  labels: appliance === undefined ? {} : { 'xcaas.appliance': appliance },
});

/** @param appliance the built-in image: `xdb` @param inUse services of the kind under test */
export async function serviceWorld<Store>(
  {
    appliance,
    createStore,
    inUse,
  }: { appliance: string; createStore(consul: ConsulClient): Store; inUse(store: Store): Promise<ServiceInUse[]> },
  change: ServiceWorldOptions,
) {
  const kv = createFakeKv();
  const consul = kv as unknown as ConsulClient;
  const store = createStore(consul);
  const log = silentLogger();
  const { hosts } = change;
  hosts[0]!.facts!.swarmManager = true;
  for (const each of hosts) await kv.kv.put(`xcaas/hosts/${each.spec.id}/spec`, JSON.stringify(each.spec));
  const asked: Asked[] = [];
  const builtIn = `xcaas/${appliance}:1`;
  const agent: Partial<AgentClient> = {
    network: async (name) => {
      if (name === 'gone') throw new AppError('not_found', 'there is no network gone');
      return { name, driver: name === 'lan' ? 'bridge' : 'overlay', attachable: name !== 'swarm' } as NetworkAnswer;
    },
    volumes: async () => change.volumes ?? [],
    images: async () => change.images ?? [image(builtIn, appliance), image('nginx:latest'), image('xcaas/xlb:1234', 'xlb')],
    stop: async (member) => void asked.push({ member, method: 'STOP', path: '' }),
    memberAdmin: async (member, method, path, body) => {
      asked.push({ member, method, path });
      return change.admin === undefined ? {} : change.admin({ member, method, path, body });
    },
  };
  const deps: ServiceDeps<Store> = {
    store,
    log,
    hosts: async () => hosts,
    agent: () => agent as AgentClient,
    events: createEvents({ consul, log }),
    services: async () => [...(change.services ?? []), ...(await inUse(store))],
    image: (ref) => findAppliance({ agent: () => agent as AgentClient }, { ref: ref ?? builtIn, appliance, hosts }),
    poolKey: Buffer.alloc(32, 1),
    caCert: () => 'CA',
    markDirty: () => undefined,
    now: change.now,
  };
  return { kv, store, deps, asked, hosts };
}
