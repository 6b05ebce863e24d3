import { AppError } from '#core/errors.ts';
import { labelKey } from '#core/host.ts';
import { type Host, hostLabels } from '#pool/host.ts';
import { type CacheSpec, EVICTION_POLICIES } from '#xcache/schema.ts';

/** What `--opt k=v` of `cache create` says; undefined where it says nothing. */
export interface CacheOptions {
  engine: CacheSpec['engine'] | undefined;
  persistence: CacheSpec['persistence'] | undefined;
  policy: CacheSpec['policy'] | undefined;
  minReplicas: number | undefined;
  autoscale: boolean | undefined;
  maxShards: number | undefined;
  /** Seconds. */
  replaceAfter: number | undefined;
  tls: boolean | undefined;
  /** Settings of the engine, see `parameters.ts`. */
  parameters: Record<string, string>;
  /** Engine labels that a host must have. */
  labels: Record<string, string>;
}

const ENGINES: readonly CacheSpec['engine'][] = ['valkey', 'redis'];
const PERSISTENCE: readonly CacheSpec['persistence'][] = ['none', 'rdb', 'aof'];
const KNOWN = [
  'engine=valkey|redis',
  'persistence=none|rdb|aof',
  'maxmemory-policy=POLICY',
  'min-replicas=N',
  'autoscale=on|off',
  'max-shards=N',
  'replace-after=SECONDS',
  'tls=on|off',
  'param.NAME=VALUE',
];
/** What constraints know of every host besides its labels. */
const OWN_LABELS = ['group', 'rack', 'node'];

/**
 * Reads the options of `cache create`. A key that is no option must be a label that some host of the pool has.
 *
 * @throws AppError `usage` for an unknown key, `invalid` for a value that cannot be
 */
export function readOptions(given: Readonly<Record<string, string>>, hosts: readonly Pick<Host, 'spec' | 'facts'>[]): CacheOptions {
  const options: CacheOptions = {
    engine: undefined,
    persistence: undefined,
    policy: undefined,
    minReplicas: undefined,
    autoscale: undefined,
    maxShards: undefined,
    replaceAfter: undefined,
    tls: undefined,
    parameters: {},
    labels: {},
  };
  for (const [key, value] of Object.entries(given)) {
    if (value === '') throw new AppError('usage', `--opt ${key} has no value`, { hint: `write --opt ${key}=VALUE` });
    switch (key) {
      case 'engine':
        options.engine = oneOf(key, value, ENGINES);
        break;
      case 'persistence':
        options.persistence = oneOf(key, value, PERSISTENCE);
        break;
      case 'maxmemory-policy':
        options.policy = oneOf(key, value, EVICTION_POLICIES);
        break;
      case 'min-replicas':
        options.minReplicas = wholeNumber(key, value, 0, 5);
        break;
      case 'autoscale':
        options.autoscale = oneOf(key, value, ['on', 'off'] as const) === 'on';
        break;
      case 'max-shards':
        options.maxShards = wholeNumber(key, value, 1, 500);
        break;
      case 'replace-after':
        options.replaceAfter = wholeNumber(key, value.replace(/s$/, ''), 30, 86_400 * 30);
        break;
      case 'tls':
        options.tls = oneOf(key, value, ['on', 'off'] as const) === 'on';
        break;
      default:
        if (key.startsWith('param.')) options.parameters[key.slice('param.'.length)] = value;
        else options.labels[readLabel(key, value, hosts)] = value;
    }
  }
  if (options.maxShards !== undefined && options.autoscale !== true)
    throw new AppError('usage', 'max-shards is the ceiling of autoscale', { hint: 'add --opt autoscale=on' });
  if (options.autoscale === true && options.maxShards === undefined)
    throw new AppError('usage', 'autoscale needs a ceiling', { hint: 'add --opt max-shards=N: it never makes more masters than that' });
  return options;
}

function oneOf<T extends string>(key: string, value: string, words: readonly T[]): T {
  const found = words.find((word) => word === value.toLowerCase());
  if (found === undefined)
    throw new AppError('invalid', `${key}=${value.slice(0, 60)} is not known`, { hint: `use one of ${words.join(', ')}` });
  return found;
}

function wholeNumber(key: string, value: string, least: number, most: number): number {
  const found = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(found >= least && found <= most))
    throw new AppError('invalid', `${key} takes a whole number from ${least} to ${most}, not "${value.slice(0, 40)}"`, {
      hint: `e.g. --opt ${key}=${Math.max(least, 1)}`,
    });
  return found;
}

function readLabel(key: string, value: string, hosts: readonly Pick<Host, 'spec' | 'facts'>[]): string {
  const known = new Set([...OWN_LABELS, ...hosts.flatMap((host) => Object.keys(hostLabels(host)))]);
  if (labelKey.safeParse(key).success && known.has(key)) {
    if (value.length > 256) throw new AppError('invalid', `the value of --opt ${key} is longer than 256 characters`);
    return key;
  }
  throw new AppError('usage', `--opt ${key.slice(0, 60)} is neither an option nor a label that a host has`, {
    hint: `options are ${KNOWN.join(', ')}; xcaas node label NODE ${key.slice(0, 60)}=VALUE sets a label`,
  });
}
