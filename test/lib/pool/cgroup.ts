import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pause } from './processes.ts';

/**
 * A control group per host of a pool holds every process of that host, whatever namespaces it is in: the engine's, because they are started
 * in it, and the containers', because the engine is told to make its own groups below it. So a host can be frozen and killed as a whole.
 */
interface Hierarchies {
  /** v1: the freezer hierarchy; v2: the only one. */
  main: string;
  v2: boolean;
  /** Every hierarchy in which engines make groups. */
  all: string[];
}

let found: Hierarchies | undefined;

export function hierarchies(): Hierarchies {
  found ??= findHierarchies(readFileSync('/proc/mounts', 'utf8'));
  return found;
}

/** @param mounts text of /proc/mounts */
export function findHierarchies(mounts: string): Hierarchies {
  const rows = mounts.split('\n').map((line) => line.split(' '));
  const groups = rows
    .filter((row) => row[2] === 'cgroup' || row[2] === 'cgroup2')
    .map((row) => ({ path: row[1] ?? '', type: row[2], options: (row[3] ?? '').split(',') }));
  const all = groups.map((group) => group.path);
  const freezer = groups.find((group) => group.type === 'cgroup' && group.options.includes('freezer'));
  if (freezer) return { main: freezer.path, v2: false, all };
  const unified = groups.find((group) => group.type === 'cgroup2');
  if (!unified) throw new Error('no control groups are mounted on this machine: engines cannot run here');
  return { main: unified.path, v2: true, all };
}

/** @returns the folder of the group that a host's own processes are started in */
export function makeGroup(name: string): string {
  const { main, v2 } = hierarchies();
  // In v2 a group with groups that have controllers below it may hold no process itself.
  const path = v2 ? join(main, name, 'engine') : join(main, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function tree(path: string): string[] {
  try {
    const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [path, ...below.flatMap((entry) => tree(join(path, entry.name)))];
  } catch {
    return [];
  }
}

export function groupPids(name: string): number[] {
  return tree(join(hierarchies().main, name)).flatMap((path) => {
    try {
      return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

/**
 * Stops all processes of the group and of the groups below it, as if the machine got no CPU; the kernel goes on answering for them
 * (acknowledges TCP, answers ARP and ping), as with a hung machine.
 *
 * @throws Error when the kernel has not stopped them within 5 s
 */
export function freezeGroup(name: string): void {
  const { main, v2 } = hierarchies();
  const path = join(main, name);
  const [file, word] = v2 ? ['cgroup.freeze', '1'] : ['freezer.state', 'FROZEN'];
  for (let tries = 0; tries < 500; tries++) {
    // v1 gives up on a group that forks while being frozen, so it is told again.
    writeFileSync(join(path, file), word);
    const now = v2
      ? readFileSync(join(path, 'cgroup.events'), 'utf8').includes('frozen 1')
      : readFileSync(join(path, file), 'utf8').trim() === word;
    if (now) return;
    pause(10);
  }
  throw new Error(`the kernel did not freeze ${path} within 5 s`);
}

/** @param deep also thaws groups below that somebody else froze (paused containers), so that their processes can die */
export function thawGroup(name: string, { deep = false }: { deep?: boolean } = {}): void {
  const { main, v2 } = hierarchies();
  const [file, word] = v2 ? ['cgroup.freeze', '0'] : ['freezer.state', 'THAWED'];
  const path = join(main, name);
  for (const group of deep ? tree(path) : [path]) {
    try {
      writeFileSync(join(group, file), word);
    } catch {
      // Removed meanwhile.
    }
  }
}

/** Removes the group and those below it in every hierarchy; what still holds a process stays. */
export function removeGroup(name: string): void {
  for (const hierarchy of hierarchies().all) {
    for (const path of tree(join(hierarchy, name)).reverse()) {
      try {
        rmdirSync(path);
      } catch {
        // Still in use, or removed by another.
      }
    }
  }
}
