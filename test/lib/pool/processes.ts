import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

/**
 * When a process started, in clock ticks since the machine's boot (proc(5), stat field 22): with the pid it names one process for ever.
 *
 * @returns undefined when there is no such process, or it is dead and only waits to be collected
 */
export function startTime(pid: number): string | undefined {
  const fields = statFields(pid);
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** Fields of /proc/PID/stat after the program's name, which itself may hold blanks and brackets. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

export function allPids(): number[] {
  return readdirSync('/proc').flatMap((entry) => (/^[0-9]+$/.test(entry) ? [Number(entry)] : []));
}

/** Processes whose network namespace is one of those mounted at `paths` (`/run/netns/NAME`). */
export function pidsInNetns(paths: readonly string[]): number[] {
  const inodes = new Set<string>();
  for (const path of paths) {
    try {
      inodes.add(`net:[${statSync(path).ino}]`);
    } catch {
      // Already gone.
    }
  }
  if (inodes.size === 0) return [];
  return allPids().filter((pid) => {
    try {
      return inodes.has(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      return false;
    }
  });
}

/** The given processes and all that descend from them. */
export function withDescendants(roots: readonly number[]): number[] {
  if (roots.length === 0) return [];
  const children = new Map<number, number[]>();
  for (const pid of allPids()) {
    const parent = Number(statFields(pid)?.[1]);
    if (Number.isInteger(parent)) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = new Set<number>();
  const queue = [...roots];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    if (found.has(pid)) continue;
    found.add(pid);
    queue.push(...(children.get(pid) ?? []));
  }
  return [...found];
}

/** Sends a signal; a process that is gone meanwhile is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  if (pid <= 1 || pid === process.pid) return;
  try {
    process.kill(pid, name);
  } catch {
    // Gone.
  }
}

/** Blocks the whole program: for clean-up in exit handlers, where nothing asynchronous runs any more. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
