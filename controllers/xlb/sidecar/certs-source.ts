import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, systemCode } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { checkCerts } from './certs.ts';
import type { NginxClient } from './nginx-client.ts';

/** Brings the pairs of `certs.json` to nginx whenever the file, or nginx, is a new one. */
export interface CertsSource {
  /** Reads the file and pushes it when nginx does not hold it. @throws AppError when nginx does not take it */
  sync(): Promise<void>;
  /** nginx was started again: what it holds is not known any more. */
  forget(): void;
  problems(): readonly string[];
  hosts(): readonly string[];
  /** Version of the file whose certificates nginx holds; 0 before the first. */
  version(): number;
  stop(): void;
}

export interface CertsSourceOptions {
  path: string;
  nginx: Pick<NginxClient, 'putCerts' | 'generation'>;
  log: Logger;
  onChange(): void;
  now?: () => Date;
}

export function createCertsSource({ path, nginx, log, onChange, now = () => new Date() }: CertsSourceOptions): CertsSource {
  let pushed: string | undefined;
  let problems: string[] = [];
  let hosts: string[] = [];
  let live = 0;
  const watcher = watchFolder(dirname(path), onChange, log);

  async function sync(): Promise<void> {
    const text = await readText(path);
    // No file: the load balancer was made without certificates, or its secrets have not come yet.
    if (text === undefined) return;
    const checked = checkCerts(text, now());
    if (checked === undefined) {
      problems = ['the file of certificates is not understood; the ones before it stay'];
      return;
    }
    problems = checked.problems;
    hosts = checked.hosts;
    if (checked.hash === pushed) {
      live = checked.version;
      return;
    }
    if ((await nginx.putCerts(checked.text)) === 'stale') {
      // Other content under a version that is held already: the records were restored from a backup, say. The file is what counts.
      const { certs = 0 } = await nginx.generation();
      await nginx.putCerts(checked.withVersion(Math.max(certs, checked.version) + 1));
    }
    pushed = checked.hash;
    live = checked.version;
    log.info({ hosts: checked.hosts.length, problems: checked.problems.length }, 'certificates are live');
  }

  return {
    sync,
    forget() {
      pushed = undefined;
    },
    problems: () => problems,
    hosts: () => hosts,
    version: () => live,
    stop: () => watcher?.close(),
  };
}

/** A watch is only quicker than the timer that looks at the file anyway. */
function watchFolder(folder: string, onChange: () => void, log: Logger): ReturnType<typeof watch> | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onChange);
    watcher.on('error', (error) => log.debug({ err: messageOf(error) }, 'the folder of secrets cannot be watched'));
    return watcher;
  } catch (error) {
    log.debug({ err: messageOf(error) }, 'the folder of secrets cannot be watched');
    return undefined;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
