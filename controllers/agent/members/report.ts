import type { ContainerInspectInfo } from 'dockerode';
import { MEMBER_LABELS, MemberReport } from '#pool/member.ts';

/** True when the labels prove that the container is that member of this host. */
export function isMember(labels: Record<string, string> | undefined, id: string, hostId: string): boolean {
  return labels?.[MEMBER_LABELS.member] === id && labels[MEMBER_LABELS.host] === hostId;
}

export function reportMember(inspected: ContainerInspectInfo): MemberReport {
  const labels = inspected.Config.Labels ?? {};
  const state = inspected.State as ContainerInspectInfo['State'] & { Health?: { Status?: string } };
  const health = state.Health?.Status;
  const running = state.Status === 'running' || state.Status === 'paused';
  const address = Object.values(inspected.NetworkSettings.Networks ?? {}).find((network) => network.IPAddress)?.IPAddress;
  return MemberReport.parse({
    id: labels[MEMBER_LABELS.member] ?? '',
    kind: labels[MEMBER_LABELS.kind] ?? '',
    service: labels[MEMBER_LABELS.service] ?? '',
    containerId: inspected.Id,
    image: inspected.Image,
    hash: labels[MEMBER_LABELS.hash] ?? '',
    state: state.Status,
    health: health === 'starting' || health === 'healthy' || health === 'unhealthy' ? health : 'none',
    startedAt: state.StartedAt,
    ...(address ? { address } : {}),
    ...(running ? {} : { exitCode: state.ExitCode }),
    ...(state.Error ? { error: state.Error } : {}),
  });
}
