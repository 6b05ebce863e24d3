import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';

/** The secrets of this service, read again when their file has changed. What is damaged or gone does not replace what was known. */
export interface CredentialsSource<T> {
  /** @returns whether they differ from what was known before */
  refresh(): Promise<boolean>;
  current(): T | undefined;
  /** Why the file as it is now is not used. */
  problem(): string | undefined;
}

/** @param schema of the file */
export function createCredentials<T>(path: string, log: Logger, schema: z.ZodType<T>): CredentialsSource<T> {
  let current: T | undefined;
  let text: string | undefined;
  let problem: string | undefined;
  return {
    async refresh() {
      try {
        const now = await readFile(path, 'utf8');
        if (now === text) return false;
        const next = schema.parse(JSON.parse(now));
        text = now;
        problem = undefined;
        const isNew = JSON.stringify(next) !== JSON.stringify(current);
        current = next;
        return isNew;
      } catch (error) {
        // A parser's message may hold what it could not parse.
        const why = error instanceof SyntaxError ? 'it is not JSON' : messageOf(error).slice(0, 200);
        if (why !== problem) log.warn({ err: why }, 'the credentials cannot be read');
        problem = why;
        return false;
      }
    },
    current: () => current,
    problem: () => problem,
  };
}
