import { AppError } from '#core/errors.ts';
import { labelKey } from '#core/host.ts';
import { type Host, hostLabels } from '#pool/host.ts';
import type { DbSpec } from '#xdb/schema.ts';

/** What `--opt k=v` of `db create` says. */
export interface DbOptions {
  role: DbSpec['role'] | undefined;
  flavor: DbSpec['flavor'] | undefined;
  /** As the user wrote it; it holds a password. */
  masterUrl: string | undefined;
  /** Whether the connection to it is encrypted: if it can be, or else not at all. */
  masterTls: 'preferred' | 'required' | 'off' | undefined;
  /** Engine labels that a host must have. */
  labels: Record<string, string>;
  parameters: Record<string, string>;
  /** Seconds. */
  replaceAfter: number | undefined;
}

const ROLES: readonly DbSpec['role'][] = ['pair', 'single', 'slave'];
const TLS = ['preferred', 'required', 'off'] as const;
const KNOWN = [
  'engine=innodb',
  'flavor=mariadb',
  'role=pair|single|slave',
  'master-url=mysql://USER:PASSWORD@HOST:PORT',
  'master-tls=preferred|required|off',
  'param.NAME=VALUE',
  'replace-after=SECONDS',
];
/** What constraints know of every host besides its labels. */
const OWN_LABELS = ['group', 'rack', 'node'];

/**
 * Reads the options of `db create`. A key that is no option must be a label that some host of the pool has.
 *
 * @throws AppError `usage` for an unknown key, `invalid` for a value that cannot be, `not_implemented` for the MySQL flavour
 */
export function readOptions(given: Readonly<Record<string, string>>, hosts: readonly Pick<Host, 'spec' | 'facts'>[]): DbOptions {
  const options: DbOptions = {
    role: undefined,
    flavor: undefined,
    masterUrl: undefined,
    masterTls: undefined,
    labels: {},
    parameters: {},
    replaceAfter: undefined,
  };
  for (const [key, value] of Object.entries(given)) {
    if (value === '') throw new AppError('usage', `--opt ${key} has no value`, { hint: `write --opt ${key}=VALUE` });
    switch (key) {
      case 'engine':
        refuseOtherEngine(value);
        break;
      case 'flavor':
        options.flavor = readFlavor(value);
        break;
      case 'role':
        options.role = ROLES.find((role) => role === value);
        if (options.role === undefined)
          throw new AppError('invalid', `role=${value} is not known`, { hint: `use one of ${ROLES.join(', ')}` });
        break;
      case 'master-url':
        options.masterUrl = value;
        break;
      case 'master-tls':
        options.masterTls = TLS.find((word) => word === value);
        if (options.masterTls === undefined)
          throw new AppError('invalid', `master-tls=${value.slice(0, 40)} is not known`, { hint: `use one of ${TLS.join(', ')}` });
        break;
      case 'replace-after':
        options.replaceAfter = seconds(value);
        break;
      default:
        if (key.startsWith('param.')) options.parameters[key.slice('param.'.length)] = value;
        else options.labels[readLabel(key, value, hosts)] = value;
    }
  }
  if ((options.masterUrl ?? options.masterTls) !== undefined && options.role !== 'slave')
    throw new AppError('usage', 'master-url is for a slave of another database', { hint: 'add --opt role=slave' });
  if (options.role === 'slave' && options.masterUrl === undefined)
    throw new AppError('usage', 'role=slave needs the master it follows', {
      hint: 'add --opt master-url=mysql://USER:PASSWORD@HOST:PORT, @FILE or -',
    });
  return options;
}

function refuseOtherEngine(value: string): void {
  const engine = value.toLowerCase();
  if (engine === 'innodb') return;
  if (engine === 'mariadb' || engine === 'mysql')
    throw new AppError('invalid', `engine=${value} is a flavour, not a storage engine`, { hint: `use --opt flavor=${engine}` });
  throw new AppError('invalid', `the storage engine ${value} cannot be used: only InnoDB's transactions survive a failover whole`, {
    hint: 'use --opt engine=innodb, or leave it away',
  });
}

function readFlavor(value: string): DbSpec['flavor'] {
  const flavor = value.toLowerCase();
  if (flavor === 'mysql') throw new AppError('not_implemented', 'flavor=mysql is not built yet', { hint: 'flavor=mariadb is' });
  if (flavor !== 'mariadb') throw new AppError('invalid', `flavor=${value} is not known`, { hint: 'use flavor=mariadb' });
  return flavor;
}

function readLabel(key: string, value: string, hosts: readonly Pick<Host, 'spec' | 'facts'>[]): string {
  const known = new Set([...OWN_LABELS, ...hosts.flatMap((host) => Object.keys(hostLabels(host)))]);
  if (labelKey.safeParse(key).success && known.has(key)) {
    if (value.length > 256) throw new AppError('invalid', `the value of --opt ${key} is longer than 256 characters`);
    return key;
  }
  const labels = [...known].filter((label) => !OWN_LABELS.includes(label) && !label.includes('.')).sort();
  const has = labels.length === 0 ? 'no host has labels of its own' : `hosts have the labels ${labels.slice(0, 10).join(', ')}`;
  throw new AppError('usage', `--opt ${key.slice(0, 60)} is neither an option nor a label that a host has`, {
    hint: `options are ${KNOWN.join(', ')}; ${has} (xcaas node label NODE ${key.slice(0, 60)}=VALUE sets one)`,
  });
}

function seconds(value: string): number {
  const match = /^(\d{1,6})s?$/.exec(value);
  if (match === null)
    throw new AppError('invalid', `replace-after takes seconds, not "${value}"`, { hint: 'e.g. --opt replace-after=600' });
  return Number(match[1]);
}
