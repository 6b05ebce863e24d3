import { AppError } from '#core/errors.ts';

/**
 * The CPUs of an engine's cpuset (`0-1,4`), ascending.
 *
 * @throws AppError `invalid` for anything else
 */
export function parseCpuset(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first) throw new AppError('invalid', `"${text}" is no set of CPUs; write it like 0-1,4`);
    for (let cpu = first; cpu <= last; cpu += 1) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/** The shortest form of a set of CPUs: `0-1,4`. */
export function formatCpuset(cpus: Iterable<number>): string {
  const parts: string[] = [];
  let first: number | undefined;
  let last = Number.NaN;
  const close = () => {
    if (first !== undefined) parts.push(first === last ? `${first}` : `${first}-${last}`);
  };
  for (const cpu of [...new Set(cpus)].sort((a, b) => a - b)) {
    if (cpu !== last + 1) {
      close();
      first = cpu;
    }
    last = cpu;
  }
  close();
  return parts.join(',');
}
