import { parseArgs } from 'node:util';
import { AppError, messageOf, toAppError } from '#core/errors.ts';
import { hostPaths } from '#core/paths.ts';
import { readConsulConfig } from '#ground/consul-config.ts';
import { foundAcl } from '#ground/found-acl.ts';
import { type HostRecord, readHostRecord } from '#ground/host-record.ts';
import { initHost } from '#ground/init.ts';
import { joinPool } from '#ground/join-client.ts';
import { applyPromotion, fetchPromotion } from '#ground/promote.ts';

/** `host.mjs`: what setup runs on a host, in a container of the control image, before and around the programs that stay. */

const USAGE = `host.mjs init --name N --address A [--group G] [--rack R] [--label k=v]... [--consul-version V]
host.mjs acl [--profile-out FILE] [--reset]
host.mjs join TOKEN --name N --address A [--group G] [--rack R] [--label k=v]... [--consul-version V]
host.mjs promote`;

const OPTIONS = {
  name: { type: 'string' },
  address: { type: 'string' },
  group: { type: 'string' },
  rack: { type: 'string' },
  label: { type: 'string', multiple: true },
  'consul-version': { type: 'string' },
  'profile-out': { type: 'string' },
  reset: { type: 'boolean' },
} as const;

const paths = hostPaths(process.env.XCAAS_ROOT ?? '');
const progress = (sentence: string) => process.stderr.write(`${sentence}\n`);

async function main(argv: string[]): Promise<unknown> {
  const { values, positionals } = parse(argv);
  const [verb, ...rest] = positionals;
  const [first] = rest;
  if (rest.length > (verb === 'join' ? 1 : 0)) throw usage(`there is one word too many: ${rest.at(-1)}`);
  switch (verb) {
    case 'init': {
      const { host, consulChanged } = await initHost(paths, selfOf(values, await readHostRecord(paths.hostFile)), consulOf(values));
      return { ...host, consulChanged };
    }
    case 'acl': {
      const profileOut = values['profile-out'];
      return foundAcl({ paths, reset: values.reset ?? false, progress, ...(profileOut === undefined ? {} : { profileOut }) });
    }
    case 'join': {
      if (first === undefined) throw usage('join needs a token');
      const self = selfOf(values, await readHostRecord(paths.hostFile));
      const { swarm, host } = await joinPool({ paths, token: first, host: self, progress, ...consulOf(values) });
      return { swarm, host };
    }
    case 'promote': {
      const host = await readHostRecord(paths.hostFile);
      const servers = (await readConsulConfig(paths))?.servers ?? [];
      progress(`asking ${servers.join(', ') || 'nobody'} for what makes ${host?.name ?? 'this host'} a manager`);
      return applyPromotion(paths, await fetchPromotion(paths, servers));
    }
    default:
      throw usage(verb === undefined ? 'say what to do' : `there is no "${verb}" here`);
  }
}

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    throw usage(messageOf(cause));
  }
}

/** What is not said stays as it was. */
function selfOf(values: ReturnType<typeof parse>['values'], before: HostRecord | undefined): Omit<HostRecord, 'id' | 'manager'> {
  const { name, address, group = before?.group ?? 'default', rack = before?.rack ?? 'default', label = [] } = values;
  if (!name || !address) throw usage('--name and --address are needed');
  const labels = { ...before?.labels, ...Object.fromEntries(label.map(parseLabel)) };
  return { name: name.toLowerCase(), address, group, rack, labels };
}

/** From 1.14 on, Consul has a port more to close. */
function consulOf({ 'consul-version': version }: ReturnType<typeof parse>['values']): { modernConsul?: boolean } {
  if (version === undefined) return {};
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined) throw usage(`--consul-version takes a version such as 1.8.7, not "${version}"`);
  return { modernConsul: Number(major) > 1 || Number(minor) >= 14 };
}

function parseLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`--label takes key=value, not "${text}"`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function usage(message: string): AppError {
  return new AppError('usage', message, { hint: USAGE });
}

try {
  process.stdout.write(`${JSON.stringify(await main(process.argv.slice(2)))}\n`);
} catch (cause) {
  const error = toAppError(cause);
  process.stderr.write(`error  ${error.message} (${error.code})\n${error.hint === undefined ? '' : `       ${error.hint}\n`}`);
  if (!error.user && error.code === 'internal' && error.cause instanceof Error) process.stderr.write(`${error.cause.stack ?? ''}\n`);
  process.exitCode = error.exit;
}
