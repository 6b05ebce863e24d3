import { AppError, messageOf } from '#core/errors.ts';
import type { ContainerReport } from '#pool/agent-api.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';

export interface PoolAccess {
  hosts(): Promise<Host[]>;
  agent(host: Host): Pick<AgentClient, 'findContainers'>;
}

export interface FoundContainer {
  host: Host;
  report: ContainerReport;
}

/** Candidates that are named one by one. */
const NAMED = 8;

/**
 * The container of the pool that a user means by its id, its exact name or the beginning of its id (in this order, as the engine does),
 * on whichever host it is. All living hosts are asked at once; a host that cannot be asked holds nobody up for longer than one deadline.
 *
 * @throws AppError `not_found` naming the hosts that were asked and those that could not be; `ambiguous` naming the candidates
 */
export async function findContainer(pool: PoolAccess, ref: string): Promise<FoundContainer> {
  if (ref.trim() === '') throw new AppError('usage', 'which container? type its name or id');
  const hosts = await pool.hosts();
  const answers = await Promise.all(hosts.map((host) => ask(pool, host, ref)));
  const all = answers.flatMap(({ found }) => found);

  const matches = [
    all.filter(({ report }) => report.id === ref),
    all.filter(({ report }) => report.name === ref),
    all.filter(({ report }) => report.id.startsWith(ref)),
  ].find((some) => some.length > 0);
  if (matches === undefined) throw notFound(ref, answers);
  const [only, ...others] = matches;
  if (others.length === 0) return only!;
  const candidates = matches.map(({ report, host }) => `${report.name} (${report.id.slice(0, 12)}) on ${host.spec.name}`).sort();
  const rest = candidates.length > NAMED ? `, and ${candidates.length - NAMED} more` : '';
  throw new AppError('ambiguous', `"${ref}" could be any of: ${candidates.slice(0, NAMED).join(', ')}${rest}`, {
    hint: `type more of the id, e.g. ${only!.report.id.slice(0, 12)}`,
  });
}

interface Answer {
  host: Host;
  found: FoundContainer[];
  /** Why the host could not be asked. */
  silent?: string;
}

async function ask(pool: PoolAccess, host: Host, ref: string): Promise<Answer> {
  if (!host.alive) return { host, found: [], silent: 'down' };
  try {
    const reports = await pool.agent(host).findContainers(ref);
    return { host, found: reports.map((report) => ({ host, report })) };
  } catch (error) {
    return { host, found: [], silent: messageOf(error).replace(`host ${host.spec.name}: `, '') };
  }
}

function notFound(ref: string, answers: readonly Answer[]): AppError {
  const asked = answers.filter(({ silent }) => silent === undefined).map(({ host }) => host.spec.name);
  const silent = answers.filter(({ silent }) => silent !== undefined).map(({ host, silent }) => `${host.spec.name} (${silent})`);
  const where = asked.length === 0 ? 'no host could be asked' : `asked ${asked.join(', ')}`;
  const holes = silent.length === 0 ? '' : `; could not ask ${silent.join(', ')}`;
  return new AppError('not_found', `there is no container "${ref}" in the pool: ${where}${holes}`, {
    hint: silent.length === 0 ? 'docker ps -a on the host where it should be' : 'it may be on a host that could not be asked: xcaas nodes',
  });
}
