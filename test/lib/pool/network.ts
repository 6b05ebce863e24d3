import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { AppError } from '#core/errors.ts';
import { knownPools, poolPrefix } from './state.ts';
import { tool } from './tools.ts';

export const bridgeName = (id: string): string => poolPrefix(id);
/** The machine's end of a host's cable. */
export const portName = (id: string, index: number): string => `${poolPrefix(id)}-${index}`;
export const netnsName = (id: string, host: string): string => `${poolPrefix(id)}-${host}`;
export const netnsPath = (id: string, host: string): string => `/run/netns/${netnsName(id, host)}`;
export const hostAddress = (subnet: string, index: number): string => `${subnet}.${10 + index}`;

/**
 * A free /24 in 10.64.0.0–10.191.255.0: Swarm takes its networks from 10.0.0.0 upwards, so the two stay apart.
 *
 * @returns its first three numbers
 */
export function freeSubnet(random: () => number = Math.random): string {
  const taken = [
    ...Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)),
    ...tool('ip', ['-4', 'route', 'show', 'table', 'all'], { tolerate: true }).split(/\s+/),
    ...readFileSync('/etc/resolv.conf', 'utf8').split(/\s+/),
    ...knownPools().map((pool) => `${pool.state?.subnet}.1`),
  ];
  for (let tries = 0; tries < 200; tries++) {
    const subnet = `10.${64 + Math.floor(random() * 128)}.${Math.floor(random() * 256)}`;
    const wide = `${subnet.split('.').slice(0, 2).join('.')}.`;
    // A route wider than /24 that would cover it begins with the same two numbers in practice; such ranges are left alone.
    if (!taken.some((word) => word.startsWith(`${subnet}.`) || (word.startsWith(wide) && word.includes('/')))) return subnet;
  }
  throw new AppError('internal', 'found no free /24 below 10.64.0.0/9 on this machine');
}

/** MTU of the way out of this machine, so that what fits a host's wire also fits there. */
export function uplinkMtu(): number {
  const device = /\bdev (\S+)/.exec(tool('ip', ['-4', 'route', 'show', 'default'], { tolerate: true }))?.[1];
  const mtu = device && /\bmtu (\d+)/.exec(tool('ip', ['link', 'show', 'dev', device], { tolerate: true }))?.[1];
  return Math.min(1500, Number(mtu) || 1500);
}

/**
 * The rules that let a pool's hosts out and to one another, as iptables arguments without the `-A`/`-I`. Another engine on the machine sets
 * the policy of FORWARD to DROP and makes bridged frames pass it, so ours go first; each carries the pool's name as a comment.
 */
export function poolRules(id: string, subnet: string): { table: string; chain: string; rule: string[] }[] {
  const bridge = bridgeName(id);
  const tag = ['-m', 'comment', '--comment', poolPrefix(id)];
  const net = `${subnet}.0/24`;
  return [
    { table: 'filter', chain: 'FORWARD', rule: ['-i', bridge, ...tag, '-j', 'ACCEPT'] },
    { table: 'filter', chain: 'FORWARD', rule: ['-o', bridge, ...tag, '-j', 'ACCEPT'] },
    { table: 'nat', chain: 'POSTROUTING', rule: ['-s', net, '!', '-d', net, ...tag, '-j', 'MASQUERADE'] },
  ];
}

export function makeBridge(id: string, subnet: string, mtu: number): void {
  const bridge = bridgeName(id);
  tool('ip', ['link', 'add', bridge, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0']);
  tool('ip', ['link', 'set', bridge, 'mtu', String(mtu), 'up']);
  tool('ip', ['addr', 'add', `${subnet}.1/24`, 'dev', bridge]);
  for (const { table, chain, rule } of poolRules(id, subnet)) tool('iptables', ['-w', '-t', table, '-I', chain, '1', ...rule]);
  // Off only where no engine ever ran; it stays on afterwards, as engines leave it.
  if (readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() !== '1') tool('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
}

/** A network namespace with one cable, `eth0`, plugged into the pool's bridge. The same host gets the same hardware address at each boot. */
export function makeWire(id: string, subnet: string, host: string, index: number, mtu: number): void {
  const netns = netnsName(id, host);
  const port = portName(id, index);
  const mac = `02:58:${[...subnet.split('.').slice(0, 3), 10 + index].map((part) => Number(part).toString(16).padStart(2, '0')).join(':')}`;
  tool('ip', ['netns', 'add', netns]);
  tool('ip', [
    'link',
    'add',
    port,
    'mtu',
    String(mtu),
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'mtu',
    String(mtu),
    'address',
    mac,
    'netns',
    netns,
  ]);
  tool('ip', ['link', 'set', port, 'master', bridgeName(id), 'up']);
  tool('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
  tool('ip', ['-n', netns, 'link', 'set', 'eth0', 'up']);
  tool('ip', ['-n', netns, 'addr', 'add', `${hostAddress(subnet, index)}/24`, 'dev', 'eth0']);
  tool('ip', ['-n', netns, 'route', 'add', 'default', 'via', `${subnet}.1`]);
}

export function removeWire(id: string, host: string, index: number): void {
  tool('ip', ['link', 'del', portName(id, index)], { tolerate: true });
  tool('ip', ['netns', 'del', netnsName(id, host)], { tolerate: true });
}

/** Everything in the network that carries the pool's name, without asking its records. */
export function removeNetwork(id: string): void {
  const prefix = poolPrefix(id);
  for (const line of tool('ip', ['netns', 'list'], { tolerate: true }).split('\n')) {
    const name = line.split(' ')[0] ?? '';
    if (name.startsWith(`${prefix}-`)) tool('ip', ['netns', 'del', name], { tolerate: true });
  }
  for (const name of Object.keys(linksByName())) {
    if (name === prefix || name.startsWith(`${prefix}-`)) tool('ip', ['link', 'del', name], { tolerate: true });
  }
  for (const table of ['filter', 'nat']) {
    for (const line of tool('iptables', ['-w', '-t', table, '-S'], { tolerate: true }).split('\n')) {
      const words = line.split(' ').map((word) => word.replace(/^"|"$/g, ''));
      if (words[0] === '-A' && words[words.indexOf('--comment') + 1] === prefix) {
        tool('iptables', ['-w', '-t', table, '-D', ...words.slice(1)], { tolerate: true });
      }
    }
  }
}

function linksByName(): Record<string, true> {
  const names = tool('ip', ['-o', 'link', 'show'], { tolerate: true }).matchAll(/^\d+: ([^:@\s]+)/gm);
  return Object.fromEntries([...names].map((match) => [match[1] ?? '', true]));
}
