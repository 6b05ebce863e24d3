import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { HostPaths } from '#core/paths.ts';
import type { HostRecord } from '#ground/host-record.ts';
import { applyPromotion, fetchPromotion } from '#ground/promote.ts';
import type { PromoteAnswer } from '#pool/agent-api.ts';
import type { ControlAddresses } from './control-addresses.ts';
import { engineError } from './engine-errors.ts';
import { createKeyedMutex } from './mutex.ts';

const GROUND_CONTAINERS = { consul: 'xcaas-consul', control: 'xcaas-control' } as const;

export interface GroundDuties {
  /** Makes this host a Consul server that runs control. May be repeated. */
  promote(proceed: () => void): Promise<PromoteAnswer>;
  /** Starts control when this host is a manager and it does not run, as after a promotion that broke off. @returns true when it was started */
  startControl(): Promise<boolean>;
}

export interface GroundDutiesOptions {
  docker: Docker;
  paths: HostPaths;
  addresses: ControlAddresses;
  log: Logger;
  /** Told of the host's new record. */
  onPromoted(host: HostRecord): void;
  controlPort?: number;
  /** Names of the containers; those of compose/xcaas.yml when not given. */
  containers?: { consul: string; control: string };
}

export function createGroundDuties(options: GroundDutiesOptions): GroundDuties {
  const { docker, paths, addresses, log, onPromoted, controlPort, containers = GROUND_CONTAINERS } = options;
  const mutex = createKeyedMutex();

  /** Containers of the ground are those of the compose project `xcaas`; another one of that name is not touched. */
  async function groundContainer(name: string): Promise<{ id: string; running: boolean }> {
    try {
      const found = await docker.getContainer(name).inspect();
      if (found.Config.Labels?.['com.docker.compose.project'] === 'xcaas') return { id: found.Id, running: found.State.Running };
    } catch (error) {
      if (!isNotFound(error)) throw engineError(error, `looking for ${name}`);
      throw new AppError('not_found', `there is no container ${name} on this host`, { hint: './xcaas up on this host makes it' });
    }
    throw new AppError('conflict', `the container ${name} on this host is not of the compose project xcaas`, {
      hint: `docker rename ${name} …, then ./xcaas up`,
    });
  }

  async function startControl(): Promise<boolean> {
    const control = await groundContainer(containers.control);
    if (control.running) return false;
    try {
      await docker.getContainer(control.id).start();
    } catch (error) {
      throw engineError(error, 'starting control');
    }
    log.info('control was started on this host');
    return true;
  }

  return {
    startControl: () => mutex.run('ground', startControl),
    promote(proceed) {
      return mutex.run('ground', async () => {
        proceed();
        const promotion = await fetchPromotion(paths, await addresses.candidates(), controlPort);
        const consul = await groundContainer(containers.consul);
        const { change, host } = await applyPromotion(paths, promotion);
        onPromoted(host);
        try {
          if (change) await docker.getContainer(consul.id).restart({ t: 20 });
        } catch (error) {
          throw engineError(error, 'restarting Consul as a server');
        }
        const started = await startControl();
        const sentence = change ? `${host.name} is a Consul server now and runs control` : `${host.name} was a manager already`;
        log.info({ change, started }, 'promoted');
        return { change: change || started, sentence };
      });
    },
  };
}
