import { port as portSchema } from '#core/names.ts';

/**
 * The labels by which a user's container asks to be registered in Consul:
 *
 * ```
 * xcaas.service=web                      one service; its port is the only TCP port that the image exposes
 * xcaas.service=web:8080,admin:9090      several, each with its port
 * xcaas.service.port=8080                options of all services of the container:
 * xcaas.service.tags=a,b                 port, tags, weight, network, check
 * xcaas.service.weight=100               1 to 1000, 100 when not given
 * xcaas.service.network=backend          whose address is registered; else the pool's network, else the only one
 * xcaas.service.check=health|running     health (default): passing while it runs and its HEALTHCHECK, if it has one, is healthy
 * xcaas.service.admin.weight=10          the same options for the service `admin` alone
 * ```
 */
export const SERVICE_LABEL = 'xcaas.service';

export const DEFAULT_WEIGHT = 100;

export interface LabelService {
  name: string;
  port: number;
  tags: string[];
  weight: number;
  network: string | undefined;
  check: 'health' | 'running';
}

const OPTIONS = ['port', 'tags', 'weight', 'network', 'check'] as const;
type Option = (typeof OPTIONS)[number];

const SERVICE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const TAG = /^[A-Za-z0-9][A-Za-z0-9._=:/-]{0,127}$/;
const NETWORK = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/**
 * @param exposed the container's exposed TCP ports, for services that name none
 * @returns the services that are understood, and a sentence for each label that is not; a service with a wrong option is left out rather than
 * registered otherwise than it was asked for
 */
export function parseServiceLabels(
  labels: Record<string, string>,
  exposed: readonly number[],
): { services: LabelService[]; problems: string[] } {
  const services: LabelService[] = [];
  const problems: string[] = [];
  const own = Object.keys(labels).filter((key) => key.startsWith(`${SERVICE_LABEL}.`));
  const list = labels[SERVICE_LABEL];
  if (list === undefined) {
    if (own.length > 0) problems.push(`the label ${own[0]} stands without ${SERVICE_LABEL}=NAME`);
    return { services, problems };
  }
  const entries = list.split(',').map((entry) => entry.trim());
  const names = entries.map((entry) => entry.split(':')[0]!);
  for (const key of own) {
    const rest = key.slice(SERVICE_LABEL.length + 1);
    const known = OPTIONS.some((option) => rest === option || names.some((name) => rest === `${name}.${option}`));
    if (!known) problems.push(`the label ${key} is not understood; options are ${OPTIONS.join(', ')}`);
  }
  for (const entry of entries) {
    try {
      const service = parseEntry(entry, labels, exposed);
      if (services.some((other) => other.name === service.name && other.port === service.port)) throw new Error('is there twice');
      services.push(service);
    } catch (error) {
      problems.push(`the service "${entry}" of the label ${SERVICE_LABEL}: ${(error as Error).message}`);
    }
  }
  return { services, problems };
}

function parseEntry(entry: string, labels: Record<string, string>, exposed: readonly number[]): LabelService {
  const [name = '', ownPort, ...rest] = entry.split(':');
  if (rest.length > 0) throw new Error('use NAME or NAME:PORT');
  if (!SERVICE_NAME.test(name)) throw new Error('a name is letters, digits and . _ -, begins with a letter or digit and has 128 at most');
  const option = (key: Option): string | undefined => labels[`${SERVICE_LABEL}.${name}.${key}`] ?? labels[`${SERVICE_LABEL}.${key}`];

  const tags = (option('tags') ?? '')
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  for (const tag of tags) if (!TAG.test(tag)) throw new Error(`the tag "${tag}" is not understood`);

  const network = option('network');
  if (network !== undefined && !NETWORK.test(network)) throw new Error(`"${network}" is no name of a network`);

  const check = option('check') ?? 'health';
  if (check !== 'health' && check !== 'running') {
    throw new Error(
      `check=${check} is not one of health, running; requests to the service itself are the load balancer's active checks, or a HEALTHCHECK`,
    );
  }
  return { name, port: portOf(ownPort ?? option('port'), exposed), tags, weight: weightOf(option('weight')), network, check };
}

function portOf(text: string | undefined, exposed: readonly number[]): number {
  if (text === undefined) {
    if (exposed.length === 1) return exposed[0]!;
    const why = exposed.length === 0 ? 'the image exposes none' : `the image exposes ${exposed.join(', ')}`;
    throw new Error(`it names no port and ${why}; write NAME:PORT`);
  }
  const port = portSchema.safeParse(/^\d{1,5}$/.test(text) ? Number(text) : undefined);
  if (!port.success) throw new Error(`"${text}" is no port`);
  return port.data;
}

function weightOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_WEIGHT;
  const weight = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (weight < 1 || weight > 1000) throw new Error(`the weight "${text}" is not between 1 and 1000`);
  return weight;
}
