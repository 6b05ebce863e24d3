import type { ContainerInspectInfo } from 'dockerode';
import { type Docker, dockerMessage, isNotFound } from '#core/docker.ts';
import type { Logger } from '#core/log.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import { MEMBER_LABELS } from '#pool/member.ts';

/**
 * What an engine says of a container that it could not start because no Swarm manager answered (28.5: "attaching to network failed, make sure your
 * network options are correct and check manager logs: context deadline exceeded", "could not find a network matching network mode NAME: network NAME
 * not found", "Could not attach to network NAME: rpc error …").
 */
const NO_NETWORK = /attach(ing)? to network|could not find a network|network \S+ not found|swarm.*(leader|manager)/i;

/**
 * True for a container of a user that should run and does not, for one reason only: its network was not to be had when the engine started it. One that
 * was stopped, ended by itself or never started has no such error: the engine clears it at each start that succeeds.
 */
export function isLeftBehind({ Config, HostConfig, State }: Pick<ContainerInspectInfo, 'Config' | 'HostConfig' | 'State'>): boolean {
  const policy = HostConfig.RestartPolicy?.Name;
  if (policy !== 'always' && policy !== 'unless-stopped') return false;
  if (Config.Labels?.[MEMBER_LABELS.member] !== undefined) return false;
  return State.Status === 'exited' && NO_NETWORK.test(State.Error ?? '');
}

/**
 * Finishes what a restart policy asks for: after a boot the engine tries once to start containers on an overlay, and leaves them `Exited` for good when
 * no Swarm manager can be reached at that moment. Members are the keeper's; everything else is left as it is.
 */
export function createLeftBehind({ docker, log, intervalMs = 10_000 }: { docker: Docker; log: Logger; intervalMs?: number }): Loop {
  /** Containers that were looked at and do not need us, by what the list says of them: most hosts keep many that ended long ago. */
  const settled = new Map<string, string>();
  return createLoop({
    name: 'left-behind',
    log,
    intervalMs,
    async cycle(signal) {
      const ended = await docker.listContainers({ all: true, filters: { status: ['exited'] } });
      for (const id of settled.keys()) if (!ended.some(({ Id }) => Id === id)) settled.delete(id);
      const said: string[] = [];
      for (const { Id, Status } of ended) {
        if (signal.aborted) break;
        if (settled.get(Id) === Status) continue;
        try {
          const container = docker.getContainer(Id);
          const seen = await container.inspect();
          if (!isLeftBehind(seen)) {
            settled.set(Id, Status);
            continue;
          }
          await container.start();
          const name = seen.Name.slice(1);
          log.info({ container: name, why: seen.State.Error }, 'a container whose network was missing was started');
          said.push(`${name} was started: its network is there now`);
        } catch (error) {
          if (!isNotFound(error)) said.push(`${Id.slice(0, 12)} waits for its network: ${dockerMessage(error)}`);
        }
      }
      return said.length === 0 ? 'no container waits for its network' : said.join('; ');
    },
  });
}
