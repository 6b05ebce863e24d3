import { readFile } from 'node:fs/promises';
import { AppError, systemCode } from '#core/errors.ts';

/** What holds a password comes from a file (`@FILE`) or standard input (`-`) too: a command line is seen by everybody. */
export async function secretText(value: string): Promise<string> {
  if (value === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Buffer));
    return Buffer.concat(chunks).toString('utf8').trim();
  }
  if (!value.startsWith('@')) return value;
  try {
    return (await readFile(value.slice(1), 'utf8')).trim();
  } catch (error) {
    throw new AppError('usage', `${value.slice(1)} cannot be read: ${systemCode(error) ?? 'unknown'}`, { cause: error });
  }
}
