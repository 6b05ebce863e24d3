import { AppError } from '#core/errors.ts';
import { showBytes } from '#pool/capacity.ts';
import { type Constraint, showConstraint } from '#pool/constraints.ts';
import type { MemberToPlace } from '#pool/placement-request.ts';

/** Pure: what specifications of all services with data have in common. */

const GIB = 2 ** 30;

export interface PlacedSpec {
  name: string;
  cpus: number;
  memoryBytes: number;
  diskBytes: number;
  labels: Readonly<Record<string, string>>;
}

export function memberId(service: string, number: number): string {
  return `${service}-${number}`;
}

/** What is asked of a host for a member. */
export function memberToPlace(spec: PlacedSpec, id: string): MemberToPlace {
  const { name, cpus, memoryBytes, diskBytes } = spec;
  return { id, service: name, cpus, memoryBytes, diskBytes, constraints: constraintsOf(spec) };
}

export function constraintsOf(spec: Pick<PlacedSpec, 'labels'>): Constraint[] {
  return Object.entries(spec.labels).map(([key, value]) => ({ key, operator: '==', value, soft: false }));
}

/** A port of the endpoint that hosts of members publish: `PORT` is the first of the ports. @param what `a database` @param hint how it is written @throws AppError `usage` */
export function parsePublish(
  text: string,
  { what, ports, hint }: { what: string; ports: readonly number[]; hint: string },
): { hostPort: number; port: number } {
  const match = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  const hostPort = Number(match?.[1]);
  const port = Number(match?.[2] ?? ports[0]);
  if (match === null || hostPort < 1 || hostPort > 65_535)
    throw new AppError('usage', `"${text.slice(0, 40)}" is not a port to publish`, { hint });
  if (!ports.includes(port)) throw new AppError('usage', `${what} has no port ${port}`, { hint });
  return { hostPort, port };
}

/** @throws AppError `port_taken` when one host port is published twice */
export function refusePortTwice({ name, publish }: { name: string; publish: readonly { hostPort: number }[] }): void {
  const twice = publish.find(({ hostPort }, index) => publish.findIndex((other) => other.hostPort === hostPort) !== index);
  if (twice !== undefined) throw new AppError('port_taken', `${name} publishes host port ${twice.hostPort} twice`);
}

export interface ShownSpec extends PlacedSpec {
  image?: string | undefined;
  network: string;
  publish: readonly { hostPort: number; port: number }[];
  parameters: Readonly<Record<string, string>>;
  replaceAfterSeconds: number;
}

/** The fields that every service has, as people write them. @param port of the endpoint that is published when none is named */
export function showSpec(spec: ShownSpec, port: number) {
  return {
    image: spec.image ?? 'the built-in one',
    cpu: String(spec.cpus),
    memory: exactly(spec.memoryBytes),
    disk: exactly(spec.diskBytes),
    network: spec.network,
    publish: list(spec.publish.map((each) => (each.port === port ? String(each.hostPort) : `${each.hostPort}:${each.port}`))),
    labels: list(constraintsOf(spec).map(showConstraint)),
    parameters: list(Object.entries(spec.parameters).map(([key, value]) => `${key}=${value}`)),
    'replace-after': `${spec.replaceAfterSeconds} s`,
  };
}

/** What differs, as `memory: 4 GiB instead of 2 GiB`; empty = the same. */
export function differences<Shown extends Record<string, string>>(present: Shown, asked: Shown): string[] {
  return Object.keys(present)
    .filter((key) => present[key] !== asked[key])
    .map((key) => `${key}: ${asked[key]} instead of ${present[key]}`);
}

/** Sizes that look the same rounded are told apart. */
function exactly(bytes: number): string {
  return bytes % (GIB / 4) === 0 ? showBytes(bytes) : `${bytes} bytes`;
}

function list(words: string[]): string {
  return words.toSorted().join(' ') || 'none';
}
