import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Docker } from '#core/docker.ts';
import { AppError, systemCode } from '#core/errors.ts';
import type { MemberSpec } from '#pool/member.ts';

export type HostPort = MemberSpec['publish'][number];

/**
 * Looks before anything is created whether the host ports can be had.
 *
 * @param own names of containers whose ports do not count as taken (the one that is about to be replaced)
 * @throws AppError `port_taken` naming the port and, if it is a container, who has it
 */
export async function expectPortsFree(docker: Docker, ports: readonly HostPort[], own: readonly string[] = []): Promise<void> {
  if (ports.length === 0) return;
  const published = await publishedPorts(docker);
  for (const port of ports) {
    const holders = published.filter(
      (other) => other.port === port.hostPort && other.protocol === port.protocol && overlaps(other.address, port.hostAddress),
    );
    if (holders.some((holder) => own.includes(holder.container))) continue;
    const holder = holders[0];
    if (holder === undefined && (await canBind(port))) continue;
    throw portTaken(port, holder?.container);
  }
}

export function portTaken(port: HostPort, holder: string | undefined, cause?: unknown): AppError {
  const who = holder === undefined ? 'a process of this host' : `the container ${holder}`;
  return new AppError('port_taken', `the ${port.protocol} port ${port.hostPort} is taken by ${who}`, {
    hint: 'publish another port, or end what has this one',
    cause,
  });
}

interface PublishedPort {
  container: string;
  port: number;
  protocol: string;
  address: string | undefined;
}

async function publishedPorts(docker: Docker): Promise<PublishedPort[]> {
  const containers = await docker.listContainers();
  return containers.flatMap((container) =>
    (container.Ports ?? [])
      .filter((port) => port.PublicPort !== undefined)
      .map((port) => ({
        container: (container.Names[0] ?? container.Id).replace(/^\//, ''),
        port: port.PublicPort,
        protocol: port.Type,
        address: port.IP,
      })),
  );
}

function overlaps(a: string | undefined, b: string | undefined): boolean {
  const any = (address: string | undefined) => address === undefined || address === '' || address === '0.0.0.0' || address === '::';
  return any(a) || any(b) || a === b;
}

/** An address that this host does not have is left to the engine to complain about. */
function canBind({ hostPort, protocol, hostAddress }: HostPort): Promise<boolean> {
  const address = hostAddress ?? '0.0.0.0';
  return new Promise((resolve) => {
    const refused = (error: Error) => resolve(systemCode(error) !== 'EADDRINUSE');
    if (protocol === 'udp') {
      const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4' });
      socket.once('error', (error) => {
        socket.close();
        refused(error);
      });
      socket.bind({ port: hostPort, address, exclusive: true }, () => socket.close(() => resolve(true)));
      return;
    }
    const server = createServer();
    server.once('error', refused);
    server.listen({ port: hostPort, host: address, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
