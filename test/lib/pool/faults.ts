import { readFileSync } from 'node:fs';
import { AppError } from '#core/errors.ts';
import { hostAddress, netnsName, netnsPath, portName } from './network.ts';
import { pause } from './processes.ts';
import { tool } from './tools.ts';

/** What is wrong with a host's network, as wished; it outlives reboots of the host, as a broken switch does. */
export interface NetworkFaults {
  /** `silent`: the switch swallows every frame, the cable still looks plugged in; `unplugged`: the cable is out. */
  cut?: 'silent' | 'unplugged' | undefined;
  /** Indexes of hosts whose packets do not arrive here. */
  deafTo: Set<number>;
  delayMs?: number | undefined;
  kbitPerSecond?: number | undefined;
  /** Share of arriving packets that are lost, 0–1. */
  loss?: number | undefined;
  /** Packets that do not arrive here: to or from one of these TCP and UDP ports, from this host (by index) or from any. */
  deafPorts?: { from?: number; ports: readonly number[] }[];
}

export interface Wire {
  id: string;
  subnet: string;
  name: string;
  index: number;
}

const COMMENT = 'xp-fault';

/**
 * Makes a host's network as `faults` says, whatever it was before. Packets are dropped where they arrive, before connection tracking: a sender's own
 * firewall would tell it at once (EPERM), which no broken network does; and there it catches overlay traffic too, which travels wrapped
 * between the hosts' addresses.
 */
export function applyFaults(wire: Wire, faults: NetworkFaults): void {
  setPort(portName(wire.id, wire.index), faults.cut);
  applyDrops(wire, faults);
  applyShape(wire, faults);
}

/** States of a bridge's port as in linux/if_bridge.h. */
const DISABLED = '0';
const FORWARDING = '3';

function setPort(port: string, cut: NetworkFaults['cut']): void {
  const state = () => readFileSync(`/sys/class/net/${port}/brport/state`, 'utf8').trim();
  if (cut === 'unplugged') {
    tool('ip', ['link', 'set', port, 'down']);
    return;
  }
  const up = readFileSync(`/sys/class/net/${port}/operstate`, 'utf8').trim() === 'up';
  if (!up) {
    tool('ip', ['link', 'set', port, 'up']);
    // A moment after it came up the kernel sets such a port to forwarding, whatever we did to it before.
    for (let tries = 0; tries < 200 && state() !== FORWARDING; tries++) pause(10);
  }
  const wanted = cut === 'silent' ? DISABLED : FORWARDING;
  if (state() !== wanted) tool('bridge', ['link', 'set', 'dev', port, 'state', wanted]);
}

function applyDrops(wire: Wire, faults: NetworkFaults): void {
  const iptables = (args: string[]) => tool('nsenter', [`--net=${netnsPath(wire.id, wire.name)}`, 'iptables', '-w', '-t', 'raw', ...args]);
  for (const line of iptables(['-S', 'PREROUTING']).split('\n')) {
    const words = line.split(' ').map((word) => word.replace(/^"|"$/g, ''));
    if (words[0] === '-A' && words.includes(COMMENT)) iptables(['-D', ...words.slice(1)]);
  }
  const tag = ['-m', 'comment', '--comment', COMMENT, '-j', 'DROP'];
  for (const index of faults.deafTo) iptables(['-A', 'PREROUTING', '-s', `${hostAddress(wire.subnet, index)}/32`, ...tag]);
  for (const { from, ports } of faults.deafPorts ?? []) {
    const source = from === undefined ? [] : ['-s', `${hostAddress(wire.subnet, from)}/32`];
    for (const protocol of ['tcp', 'udp'])
      iptables(['-A', 'PREROUTING', '-i', 'eth0', ...source, '-p', protocol, '-m', 'multiport', '--ports', ports.join(','), ...tag]);
  }
  if (faults.loss)
    iptables(['-A', 'PREROUTING', '-i', 'eth0', '-m', 'statistic', '--mode', 'random', '--probability', String(faults.loss), ...tag]);
}

function applyShape(wire: Wire, faults: NetworkFaults): void {
  const tc = (args: string[], tolerate = false) => tool('tc', ['-n', netnsName(wire.id, wire.name), 'qdisc', ...args], { tolerate });
  tc(['del', 'dev', 'eth0', 'root'], true);
  if (faults.delayMs !== undefined && faults.kbitPerSecond !== undefined) {
    throw new AppError('usage', 'a host is made slow either by delay or by rate, not both at once');
  }
  if (faults.kbitPerSecond !== undefined) {
    tc(['add', 'dev', 'eth0', 'root', 'tbf', 'rate', `${faults.kbitPerSecond}kbit`, 'burst', '16kb', 'latency', '400ms']);
  }
  if (faults.delayMs !== undefined) {
    if (!kernelHasDelay()) {
      throw new AppError('not_implemented', 'this kernel cannot delay packets: it has no netem', {
        hint: 'use rate() or loss(), or skip the test where kernelHasDelay() is false',
      });
    }
    tc(['add', 'dev', 'eth0', 'root', 'netem', 'delay', `${faults.delayMs}ms`]);
  }
}

let delay: boolean | undefined;

/** True when this machine's kernel has `netem` (CONFIG_NET_SCH_NETEM); tried once on a device made for it. */
export function kernelHasDelay(): boolean {
  if (delay !== undefined) return delay;
  const name = `xpq${process.pid}`;
  tool('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`]);
  try {
    tool('tc', ['qdisc', 'add', 'dev', name, 'root', 'netem', 'delay', '1ms']);
    delay = true;
  } catch {
    delay = false;
  } finally {
    tool('ip', ['link', 'del', name], { tolerate: true });
  }
  return delay;
}
