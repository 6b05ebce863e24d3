import { dirname, join } from 'node:path';
import type { ContainerCreateOptions } from 'dockerode';
import type { HostPaths } from '#core/paths.ts';
import { MEMBER_LABELS, type MemberSpec, specHash } from '#pool/member.ts';

export interface MemberFolders {
  /** Host folder of each volume, by the volume's name. */
  volumes: Record<string, string>;
  /** Becomes `/run/member`. */
  run: string;
  /** Becomes `/run/secrets`, read-only. */
  secrets: string;
}

export function memberFolders(spec: Pick<MemberSpec, 'id' | 'volumes'>, paths: HostPaths): MemberFolders {
  const volumes = Object.fromEntries(Object.keys(spec.volumes).map((volume) => [volume, join(paths.volumes, spec.id, volume)]));
  return { volumes, run: join(paths.membersRun, spec.id), secrets: join(paths.secretsRun, spec.id) };
}

/** Open files a member may have when the host allows them: what the engine itself gives where nothing is set. */
const WANTED_OPEN_FILES = 1_048_576;

/**
 * What the engine is asked to create for a member.
 *
 * @param openFilesLimit the host's hard limit; above it the engine could not start the container
 */
export function containerOptions(
  spec: MemberSpec,
  { paths, hostId, openFilesLimit }: { paths: HostPaths; hostId: string; openFilesLimit: number },
): ContainerCreateOptions {
  const folders = memberFolders(spec, paths);
  const openFiles = Math.min(WANTED_OPEN_FILES, openFilesLimit);
  const mount = (source: string, target: string, readOnly: boolean) => ({
    Type: 'bind' as const,
    Source: source,
    Target: target,
    ReadOnly: readOnly,
  });
  return {
    name: spec.id,
    Hostname: spec.id,
    Image: spec.image,
    Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
    StopTimeout: spec.stopTimeoutSeconds,
    Labels: {
      [MEMBER_LABELS.kind]: spec.kind,
      [MEMBER_LABELS.service]: spec.service,
      [MEMBER_LABELS.member]: spec.id,
      [MEMBER_LABELS.hash]: specHash(spec),
      [MEMBER_LABELS.host]: hostId,
    },
    ExposedPorts: Object.fromEntries(spec.publish.map(({ port, protocol }) => [`${port}/${protocol}`, {}])),
    HostConfig: {
      RestartPolicy: { Name: 'unless-stopped' },
      NetworkMode: spec.network,
      // Mounts, not Binds: where a folder is missing (a tmpfs after a reboot) the start must fail and wait for this agent, not go on with an
      // empty folder that the engine made.
      Mounts: [
        ...Object.entries(spec.volumes).map(([volume, target]) => mount(folders.volumes[volume]!, target, false)),
        mount(folders.run, '/run/member', false),
        mount(folders.secrets, '/run/secrets', true),
        mount(dirname(paths.consulSocket), '/run/consul', true),
        mount(dirname(paths.agentSocket), '/run/agent', true),
      ],
      PortBindings: portBindings(spec),
      ...(spec.cpuset === undefined ? {} : { CpusetCpus: spec.cpuset }),
      // Without swap: a member that needs more than it was given should be seen to, not crawl.
      ...(spec.memoryBytes === undefined ? {} : { Memory: spec.memoryBytes, MemorySwap: spec.memoryBytes }),
      CapAdd: spec.capabilities,
      Sysctls: spec.sysctls,
      Ulimits: [{ Name: 'nofile', Soft: openFiles, Hard: openFiles }],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
    },
    NetworkingConfig: { EndpointsConfig: { [spec.network]: { Aliases: spec.aliases } } },
  };
}

function portBindings(spec: MemberSpec): Record<string, { HostPort: string; HostIp?: string }[]> {
  const bindings: Record<string, { HostPort: string; HostIp?: string }[]> = {};
  for (const { hostPort, port, protocol, hostAddress } of spec.publish) {
    const key = `${port}/${protocol}`;
    const binding = { HostPort: String(hostPort), ...(hostAddress === undefined ? {} : { HostIp: hostAddress }) };
    bindings[key] = [...(bindings[key] ?? []), binding];
  }
  return bindings;
}
