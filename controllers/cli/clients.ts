import { spawn } from 'node:child_process';
import process from 'node:process';
import { AppError } from '#core/errors.ts';
import { run } from '#core/spawn.ts';

/** A client to run: which program, with which arguments. The password goes by the environment, never by the command line. */
export interface Client {
  file: string;
  args: string[];
}

/** A member of the service that runs on this host: it has a client in it. */
export async function memberHere(kind: string, name: string): Promise<string | undefined> {
  const filters = [`xcaas.kind=${kind}`, `xcaas.name=${name}`].flatMap((label) => ['--filter', `label=${label}`]);
  const names = await quietly('docker', ['ps', ...filters, '--filter', 'status=running', '--format', '{{.Names}}']);
  return names.split('\n').find((line) => line !== '');
}

export async function hasImage(image: string): Promise<boolean> {
  return (await quietly('docker', ['image', 'inspect', '--format', 'yes', image])).trim() === 'yes';
}

/** @returns what it prints; nothing when it cannot be run or fails */
export async function quietly(file: string, args: string[]): Promise<string> {
  try {
    const { code, stdout } = await run(file, args, { timeoutMs: 20_000 });
    return code === 0 ? stdout : '';
  } catch {
    return '';
  }
}

/** @returns the client's exit code */
export function converse({ file, args }: Client, env: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    child.once('error', (cause) => reject(new AppError('not_found', `${file} cannot be run: ${cause.message}`, { cause })));
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}
