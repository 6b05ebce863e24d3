import { run } from '#core/spawn.ts';
import { docker } from '../appliance/xlb-sidecar-lab.ts';

/**
 * Connections between containers of the engine's default bridge pass the kernel's connection tracking, where an ended one stays for two minutes: some
 * thousand new ones a second fill its table (262,144 by default) within half a minute, and what is measured then is packets that were dropped.
 * They are left out of it until the returned function is called.
 */
export async function leaveUntracked(): Promise<() => Promise<void>> {
  const subnet = await docker('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Subnet}}', 'bridge');
  const rule = ['PREROUTING', '-s', subnet, '-d', subnet, '-m', 'comment', '--comment', 'xcaas.test=bench', '-j', 'CT', '--notrack'];
  const { code, stderr } = await run('iptables', ['-w', '5', '-t', 'raw', '-I', ...rule]);
  if (code !== 0) throw new Error(`connections between containers cannot be left untracked: ${stderr.trim()}`);
  return async () => void (await run('iptables', ['-w', '5', '-t', 'raw', '-D', ...rule]));
}
