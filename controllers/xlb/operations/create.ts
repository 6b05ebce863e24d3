import { AppError } from '#core/errors.ts';
import { serviceName } from '#core/names.ts';
import { validate } from '#core/validate.ts';
import { DEFAULT_NETWORK, refuseUnfitNetwork } from '#pool/networks.ts';
import { refuseTakenName, refuseTakenPorts, type ServiceInUse } from '#pool/services.ts';
import { parseListener, parsePublish } from '#xlb/listeners.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import type { LbSpec } from '#xlb/schema.ts';
import { createDifference, newSpec } from '#xlb/spec.ts';
import { specKey } from '#xlb/store.ts';

export interface CreateRequest {
  name: string;
  listen?: string[] | undefined;
  replicas?: number | undefined;
  network?: string | undefined;
  publish?: string[] | undefined;
}

/**
 * Writes the specification of a new load balancer; its members are the controller's business. The same request again changes nothing.
 *
 * @throws AppError `invalid`, `usage`; `conflict` showing the difference when the name is taken; `port_taken` naming who has a host port
 */
export async function createLb(deps: LbDeps, request: CreateRequest): Promise<LbSpec> {
  const { store } = deps;
  const name = validate(
    serviceName,
    request.name,
    `the name ${JSON.stringify(request.name.slice(0, 60))}`,
    'choose a name such as web or shop-1',
  );
  const listen = request.listen === undefined || request.listen.length === 0 ? ['http:80'] : request.listen;
  const asked = newSpec({
    name,
    replicas: request.replicas ?? (await defaultReplicas(deps)),
    network: request.network ?? DEFAULT_NETWORK,
    listeners: listen.map(parseListener),
    publish: (request.publish ?? []).map(parsePublish),
  });
  const present = await store.specs.get(specKey(name), { consistent: true });
  if (present !== undefined) return existing(present.value, asked, request);
  const services = await deps.services();
  refuseTakenName({ kind: 'lb', name }, services);
  refuseTakenPorts({ kind: 'lb', name, hostPorts: asked.publish.map(({ hostPort }) => hostPort) }, services, otherPort);
  await refuseUnfitNetwork(deps, asked.network);
  if (!(await store.specs.cas(specKey(name), asked, 0))) {
    const winner = await store.spec(name);
    return existing(winner.value, asked, request);
  }
  await deps.events.record({ object: `lb/${name}`, kind: 'info', reason: 'created', sentence: `${name} is to be made` });
  deps.markDirty(name);
  return asked;
}

function otherPort(other: ServiceInUse, port: number): string {
  return `publish another one, e.g. ${port + 1}${other.kind === 'lb' ? `, or send both through ${other.name} with rules by host` : ''}`;
}

/** Two where two hosts can hold them: one may then be lost. */
async function defaultReplicas(deps: LbDeps): Promise<number> {
  const usable = (await deps.hosts()).filter((host) => host.alive && !host.spec.drained);
  return Math.min(2, Math.max(1, usable.length));
}

function existing(present: LbSpec, asked: LbSpec, request: CreateRequest): LbSpec {
  if (present.destroyed) {
    throw new AppError('conflict', `${present.name} is being removed`, { hint: `wait until lb status ${present.name} no longer finds it` });
  }
  // What was not asked for is as it is: listeners may have been added since, replicas follow the pool's size at the time.
  const compare: LbSpec = {
    ...asked,
    ...(request.replicas === undefined ? { replicas: present.replicas } : {}),
    ...(request.listen === undefined || request.listen.length === 0 ? { listeners: present.listeners } : {}),
    ...(request.network === undefined ? { network: present.network } : {}),
    ...(request.publish === undefined || request.publish.length === 0 ? { publish: present.publish } : {}),
  };
  const difference = createDifference(present, compare);
  if (difference.length === 0) return present;
  throw new AppError('conflict', `${present.name} exists with another specification: ${difference.join('; ')}`, {
    hint: `change it with lb listener, lb rule or lb set, or choose another name`,
  });
}
