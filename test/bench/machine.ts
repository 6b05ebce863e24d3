import { readFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { run } from '#core/spawn.ts';
import type { Suite } from './suite.ts';

/** Figures mean something only together with this. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  engine: string;
  cgroup: string;
  node: string;
  image: string;
  commit: string;
  /** Of the last minute, before the measurements; well above zero means that others were at work. */
  load: number;
  time: string;
  /** Versions of the programs in the image. */
  [program: string]: string | number;
}

export async function describeMachine(suite: Pick<Suite, 'image' | 'programs'>): Promise<Machine> {
  const image = await suite.image();
  const said = async (file: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(file, args).catch(() => ({ code: 1, stdout: '', stderr: '' }));
    return code === 0 ? (stdout || stderr).trim() : 'unknown';
  };
  const inImage = (...command: string[]) =>
    said('docker', 'run', '--rm', '--network', 'none', '--entrypoint', command[0] ?? '', image, ...command.slice(1));
  const info = (await said('docker', 'info', '--format', '{{.ServerVersion}}|{{.CgroupVersion}}')).split('|');
  const name = /^model name\s*:\s*(.*)$/m.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1];
  return {
    cpu: name ?? process.arch,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    engine: info[0] ?? 'unknown',
    cgroup: `v${info[1] ?? '?'}`,
    node: process.version,
    image: `${image} ${(await said('docker', 'image', 'inspect', '--format', '{{.Id}}', image)).slice(7, 19)}`,
    ...Object.fromEntries(
      await Promise.all(
        Object.entries(suite.programs).map(async ([name, command]) => [
          name,
          /\d+\.\d+\S*/.exec(await inImage(...command))?.[0] ?? 'unknown',
        ]),
      ),
    ),
    commit: await said('git', '-C', import.meta.dirname, 'rev-parse', '--short', 'HEAD'),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    time: new Date().toISOString(),
  };
}
