import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { mintMemberToken, revokeMemberToken } from '#ground/acl.ts';
import { open } from '#ground/seal.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';
import { markLost, releasePlacement, reservePlacements } from '#pool/placements.ts';
import { MEMBER_MEMORY_BYTES, type Observed, type Step } from '#xlb/plan.ts';
import type { LbSpec } from '#xlb/schema.ts';
import { certsPrefix, LB_PREFIX, type LbStore, targetsPrefix } from '#xlb/store.ts';

export interface ExecuteDeps {
  store: LbStore;
  log: Logger;
  agent(host: Host): AgentClient;
  /** Makes sure that a host has the image, carrying it from another one where needed. */
  ensureImage(host: Host, image: string): Promise<void>;
  /** @throws AppError `fenced` when this replica leads no longer */
  expectLead(): void;
  poolKey: Buffer;
  now(): Date;
}

/** Does one step. @throws AppError; `no_host` when a member fits nowhere */
export async function execute(deps: ExecuteDeps, spec: LbSpec, observed: Omit<Observed, 'refused'>, step: Step): Promise<void> {
  const { consul } = deps.store;
  // Agents refuse a leader of yesterday by its fence; records cannot, and what it saw before it was frozen is no longer so.
  deps.expectLead();
  switch (step.do) {
    case 'place':
      await reservePlacements(consul, { kind: 'lb', members: [placementRequest(spec, step.member)], now: deps.now });
      return;
    case 'lost':
      await markLost(consul, step.member, step.since);
      return;
    case 'release':
      await releasePlacement(consul, step.member, step.host);
      return;
    case 'ensure': {
      const host = hostOf(observed, step.host);
      await deps.ensureImage(host, step.spec.image);
      const token = await mintMemberToken(consul, step.member, { ...step.spec.consul, node: host.spec.name });
      await deps.agent(host).putMember({ spec: step.spec, secrets: { consul_token: token, 'certs.json': await certsSecret(deps, spec) } });
      return;
    }
    case 'remove': {
      const stays = observed.placements.some((placement) => placement.member === step.member && placement.host !== step.host);
      await deps.agent(hostOf(observed, step.host)).deleteMember(step.member, { purge: step.purge, stopSeconds: 60 });
      if (!stays) await revokeMemberToken(consul, step.member);
      return;
    }
    case 'forget':
      await consul.kv.deleteTree(targetsPrefix(spec.name));
      await consul.kv.deleteTree(`${LB_PREFIX}${spec.name}/`);
      return;
  }
}

/** What `certs.json` of a member holds (images/xlb/README.md). The same certificates give the same text, so that nothing is rewritten for nothing. */
export async function certsSecret(deps: Pick<ExecuteDeps, 'store' | 'poolKey'>, spec: LbSpec): Promise<string> {
  const records = await deps.store.certs.list(certsPrefix(spec.name));
  const certs = records
    .filter(({ value }) => spec.certs.includes(value.host))
    .map(({ key, value }) => ({
      hosts: [value.host],
      ...(JSON.parse(open(deps.poolKey, key, value.sealed)) as { cert: string; key: string }),
    }));
  // nginx takes versions above the one it holds; the first is 1.
  return JSON.stringify({ version: spec.certsVersion + 1, certs });
}

function placementRequest(spec: LbSpec, id: string) {
  return {
    id,
    service: spec.name,
    cpus: 0,
    memoryBytes: MEMBER_MEMORY_BYTES,
    diskBytes: 0,
    constraints: [],
  };
}

function hostOf(observed: Pick<Observed, 'hosts'>, id: string): Host {
  const host = observed.hosts.find((candidate) => candidate.spec.id === id);
  if (host === undefined) throw new AppError('internal', `the host ${id} left the pool in the middle of a step`);
  return host;
}
