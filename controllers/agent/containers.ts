import type { ContainerInspectInfo } from 'dockerode';
import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import { type AttachAnswer, type AttachRequest, ContainerReport } from '#pool/agent-api.ts';
import { engineError } from './engine-errors.ts';

/** Containers whose id is `text` or begins with it, or whose name is exactly `text`; none is an empty list. */
export async function findContainers(docker: Docker, text: string, hostId: string): Promise<ContainerReport[]> {
  const wanted = text.replace(/^\//, '');
  try {
    const all = await docker.listContainers({ all: true });
    const isId = /^[0-9a-f]{1,64}$/.test(wanted);
    const found = all.filter(({ Id, Names }) => Names.includes(`/${wanted}`) || (isId && Id.startsWith(wanted)));
    const reports: ContainerReport[] = [];
    for (const { Id } of found) {
      try {
        reports.push(reportContainer(await docker.getContainer(Id).inspect(), hostId));
      } catch (error) {
        // Gone between the two looks.
        if (!isNotFound(error)) throw error;
      }
    }
    return reports;
  } catch (error) {
    throw engineError(error, `looking for the container ${wanted}`);
  }
}

/** @param id an id, a unique prefix of one, or a name @throws AppError `not_found` */
export async function inspectContainer(docker: Docker, id: string): Promise<ContainerInspectInfo> {
  try {
    return await docker.getContainer(id).inspect();
  } catch (error) {
    if (isNotFound(error)) throw new AppError('not_found', `there is no container ${id} on this host`, { hint: 'docker ps --all' });
    throw engineError(error, `looking at the container ${id}`);
  }
}

export function reportContainer(inspected: ContainerInspectInfo, hostId: string): ContainerReport {
  const networks: Record<string, string> = {};
  for (const [name, network] of Object.entries(inspected.NetworkSettings.Networks ?? {})) networks[name] = network.IPAddress ?? '';
  const ports = Object.keys(inspected.Config.ExposedPorts ?? {}).map((port) => Number.parseInt(port, 10));
  const { StartedAt } = inspected.State;
  return ContainerReport.parse({
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    image: inspected.Image,
    state: inspected.State.Status,
    networks,
    ports: [...new Set(ports)].sort((a, b) => a - b),
    labels: inspected.Config.Labels ?? {},
    host: hostId,
    // The engine's zero of time stands for "never".
    ...(StartedAt && !StartedAt.startsWith('0001-') ? { startedAt: StartedAt } : {}),
  });
}

/**
 * Puts a container on a network, also while it runs; its process notices nothing.
 *
 * @throws AppError that says why it cannot be: no such container or network, the container shares the host's network or has none, it does not
 * run (it then has no address), the network is not attachable
 */
export async function attach(docker: Docker, id: string, { network, aliases }: AttachRequest): Promise<AttachAnswer> {
  const container = await inspectContainer(docker, id);
  const name = container.Name.replace(/^\//, '');
  const present = container.NetworkSettings.Networks?.[network];
  if (present?.IPAddress) return { address: present.IPAddress, change: false };
  if (!container.State.Running) {
    throw new AppError('conflict', `the container ${name} does not run, so it has no address on ${network}`, {
      hint: `docker start ${name}`,
    });
  }
  const mode = container.HostConfig.NetworkMode ?? 'default';
  if (mode === 'host' || mode === 'none' || mode.startsWith('container:')) {
    throw new AppError('conflict', `the container ${name} was created with --network ${mode} and cannot be put on ${network}`, {
      hint: 'create it again on a network of its own',
    });
  }
  await expectAttachable(docker, network);
  try {
    await docker
      .getNetwork(network)
      .connect({ Container: container.Id, EndpointConfig: aliases === undefined ? {} : { Aliases: aliases } });
  } catch (error) {
    throw engineError(error, `putting ${name} on the network ${network}`);
  }
  const after = await inspectContainer(docker, container.Id);
  const address = after.NetworkSettings.Networks?.[network]?.IPAddress;
  if (!address) throw new AppError('engine', `${name} was put on ${network} but has no address there`, { hint: 'does it still run?' });
  return { address, change: true };
}

/** The engine's own refusal of such a network does not say what to do. */
async function expectAttachable(docker: Docker, network: string): Promise<void> {
  let info: { Driver?: string; Attachable?: boolean };
  try {
    info = await docker.getNetwork(network).inspect();
  } catch (error) {
    // A Swarm worker does not see an overlay before something on it uses it; connecting asks a manager for it.
    if (isNotFound(error)) return;
    throw engineError(error, `looking at the network ${network}`);
  }
  if (info.Driver === 'overlay' && info.Attachable !== true) {
    throw new AppError(
      'invalid',
      `the overlay network ${network} was created without --attachable: single containers cannot be put on it`,
      {
        hint: 'create another one with docker network create --driver overlay --attachable NAME',
      },
    );
  }
}
