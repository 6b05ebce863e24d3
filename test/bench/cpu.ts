import { createDocker } from '#core/docker.ts';
import { docker } from '../appliance/xlb-sidecar-lab.ts';

const engine = createDocker();

/** CPU time that all processes of a container have used, in seconds: the counter of its control group, as the engine reads it (cgroup v1 and v2). */
export async function containerCpu(container: string): Promise<number> {
  const stats = await engine.getContainer(container).stats({ stream: false, 'one-shot': true });
  return stats.cpu_stats.cpu_usage.total_usage / 1e9;
}

export interface ProcessUse {
  /** User and system time, seconds; the kernel counts it in hundredths. */
  cpu: number;
  /** Bytes resident (VmRSS), and with pages that others map too counted by share (Pss). */
  rss: number;
  pss: number;
}

/** @param pid inside the container */
export async function processUse(container: string, pid: string): Promise<ProcessUse> {
  const text = await docker('exec', container, 'cat', `/proc/${pid}/stat`, `/proc/${pid}/status`, `/proc/${pid}/smaps_rollup`);
  const fields = text.slice(text.indexOf(') ') + 2).split(' ');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN);
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, rss: kilobytes('VmRSS') * 1024, pss: kilobytes('Pss') * 1024 };
}
