import { z } from 'zod';
import type { ConsulClient } from '#core/consul/client.ts';
import { createRecords, type Records, type Stored } from '#core/consul/records.ts';
import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { hostPattern, LbSpec, LbStatus, SidecarStatus, Target } from '#xlb/schema.ts';

/** `xcaas/lb/<name>/certs/<host>`; the pair is sealed with the pool's key. */
export const CertRecord = z.object({ v: z.literal(1), host: hostPattern, notAfter: z.string(), sealed: z.string() });
export type CertRecord = z.infer<typeof CertRecord>;

/** Everything that Consul's KV holds of load balancers. */
export interface LbStore {
  specs: Records<LbSpec>;
  targets: Records<Target>;
  statuses: Records<LbStatus>;
  sidecars: Records<SidecarStatus>;
  certs: Records<CertRecord>;
  /** @throws AppError `not_found` naming what exists */
  spec(name: string): Promise<Stored<LbSpec>>;
  names(): Promise<string[]>;
  targetsOf(lb: string): Promise<Stored<Target>[]>;
  /** Changes the specification of a load balancer that exists and is not being removed. */
  change(name: string, change: (spec: LbSpec) => LbSpec): Promise<LbSpec>;
  consul: ConsulClient;
}

export const LB_PREFIX = 'xcaas/lb/';

export const specKey = (lb: string) => `${LB_PREFIX}${lb}/spec`;
export const statusKey = (lb: string) => `${LB_PREFIX}${lb}/status`;
export const sidecarsPrefix = (lb: string) => `${LB_PREFIX}${lb}/members/`;
export const certsPrefix = (lb: string) => `${LB_PREFIX}${lb}/certs/`;
export const targetsPrefix = (lb: string) => `xcaas/targets/${lb}/`;
export const targetKey = (lb: string, id: string) => `${targetsPrefix(lb)}${id}`;

export function createLbStore(consul: ConsulClient): LbStore {
  const specs = createRecords(consul, LbSpec);
  const targets = createRecords(consul, Target);
  const store: LbStore = {
    consul,
    specs,
    targets,
    statuses: createRecords(consul, LbStatus),
    sidecars: createRecords(consul, SidecarStatus),
    certs: createRecords(consul, CertRecord),
    async spec(name) {
      const found = serviceName.safeParse(name).success ? await specs.get(specKey(name), { consistent: true }) : undefined;
      if (found !== undefined) return found;
      const names = await store.names();
      throw new AppError('not_found', `there is no load balancer ${JSON.stringify(name)}`, {
        hint: names.length === 0 ? 'lb create NAME makes one' : `there is ${names.slice(0, 10).join(', ')}; lb create NAME makes one`,
      });
    },
    async names() {
      const entries = await consul.kv.list(LB_PREFIX);
      return entries.flatMap(({ key }) => /^xcaas\/lb\/([^/]+)\/spec$/.exec(key)?.[1] ?? []);
    },
    targetsOf: (lb) => targets.list(targetsPrefix(lb)),
    async change(name, change) {
      const { value: before } = await store.spec(name);
      const after = await specs.update(specKey(name), (present) => {
        if (present === undefined || present.destroyed) throw new AppError('not_found', `${name} is being removed`);
        return change(present);
      });
      return after ?? before;
    },
  };
  return store;
}
