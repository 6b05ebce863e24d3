import { dockerMessage, dockerStatus } from '#core/docker.ts';
import { AppError, messageOf, systemCode } from '#core/errors.ts';

/** What the engine said, as an error of ours with the next thing to do. @param what e.g. `starting the member web-1` */
export function engineError(error: unknown, what: string): AppError {
  if (error instanceof AppError) return error;
  const system = systemCode(error);
  if (system === 'ECONNREFUSED' || system === 'ENOENT' || system === 'ECONNRESET') {
    return new AppError('unavailable', `${what}: the engine of this host does not answer (${messageOf(error)})`, {
      hint: 'is dockerd running?',
      cause: error,
    });
  }
  const said = dockerMessage(error);
  const failed = `${what} failed: ${said}`;
  const details = { cause: error };
  if (/no space left|disk quota/i.test(said))
    return new AppError('disk_full', failed, { hint: 'free some space on that disk, then try again', ...details });
  if (isPortTaken(said)) return new AppError('port_taken', failed, { hint: 'publish another port, or end what has this one', ...details });
  if (/not manually attachable/i.test(said)) {
    return new AppError('invalid', failed, { hint: 'create the network with --attachable', ...details });
  }
  if (/network .* not found|no such network/i.test(said))
    return new AppError('not_found', failed, {
      hint: 'docker network ls; an overlay of the pool is created with --driver overlay --attachable',
      ...details,
    });
  // "Could not attach to network" is what an overlay answers while no Swarm manager can be reached; it passes.
  if (
    /could not attach to network|attaching to network failed|swarm.*(no leader|not have a leader)|context deadline exceeded/i.test(said)
  ) {
    return new AppError('unavailable', failed, { hint: 'no Swarm manager may be reachable; the agent tries again by itself', ...details });
  }
  if (/no such image/i.test(said)) return new AppError('not_found', failed, details);
  if (dockerStatus(error) === 404) return new AppError('not_found', failed, details);
  return new AppError('engine', failed, details);
}

export function isPortTaken(said: string): boolean {
  return /port is already allocated|address already in use|failed to bind host port/i.test(said);
}
