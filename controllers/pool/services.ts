import { AppError } from '#core/errors.ts';

/** A service of the pool as far as others can get in its way. */
export interface ServiceInUse {
  kind: 'lb' | 'db' | 'cache' | 'fs';
  name: string;
  /** Ports that the hosts of its members publish. */
  hostPorts: readonly number[];
}

const WORDS: Record<ServiceInUse['kind'], string> = { lb: 'load balancer', db: 'database', cache: 'cache', fs: 'file system' };

/**
 * Services share one set of names, whatever their kind: members are called after them (`web-1`), and so are containers, data folders and names on
 * the network.
 *
 * @throws AppError `conflict` when the name, or one that its members will have, is another service's
 */
export function refuseTakenName(asked: Pick<ServiceInUse, 'kind' | 'name'>, services: readonly ServiceInUse[]): void {
  for (const other of services) {
    if (other.kind === asked.kind && other.name === asked.name) continue;
    const what = `the ${WORDS[other.kind]} ${other.name}`;
    if (other.name === asked.name)
      throw new AppError('conflict', `${asked.name} is taken: there is ${what}`, { hint: 'choose another name' });
    if (isMemberOf(asked.name, other.name))
      throw new AppError('conflict', `${asked.name} is taken: members of ${what} are called so`, { hint: 'choose another name' });
    if (isMemberOf(other.name, asked.name)) {
      const clash = `members of ${asked.name} would be called as ${what}`;
      throw new AppError('conflict', clash, { hint: 'choose another name' });
    }
  }
}

/**
 * @param hint what else could be done than publish another port, from the service that has it
 * @throws AppError `port_taken` naming who publishes one of the host ports
 */
export function refuseTakenPorts(
  asked: ServiceInUse,
  services: readonly ServiceInUse[],
  hint: (other: ServiceInUse, port: number) => string = () => 'publish another port',
): void {
  for (const other of services) {
    if (other.kind === asked.kind && other.name === asked.name) continue;
    const clash = asked.hostPorts.find((port) => other.hostPorts.includes(port));
    if (clash === undefined) continue;
    throw new AppError('port_taken', `host port ${clash} is published by the ${WORDS[other.kind]} ${other.name} already`, {
      hint: hint(other, clash),
    });
  }
}

function isMemberOf(name: string, service: string): boolean {
  return name.startsWith(`${service}-`) && /^\d+$/.test(name.slice(service.length + 1));
}
