import { fileURLToPath } from 'node:url';
import { run } from '#core/spawn.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const built = new Map<string, Promise<string>>();

/**
 * Builds a stage of the database's image once a run; the engine's cache makes it a matter of a second when nothing changed. `engine` is MariaDB with its
 * tools and a command to be given, `member` has the supervisor, whose sidecar is the container's command.
 *
 * @returns the image's tag
 */
export function xdbStage(stage: 'engine' | 'member'): Promise<string> {
  const tag = `xcaas-test/xdb-${stage}:dev`;
  let one = built.get(stage);
  if (one === undefined) {
    one = docker(['build', '-q', '--network', 'host', '--target', stage, '-f', `${ROOT}images/xdb/Dockerfile`, '-t', tag, ROOT]).then(
      () => tag,
    );
    built.set(stage, one);
  }
  return one;
}

async function docker(args: readonly string[]): Promise<void> {
  const { code, stderr } = await run('docker', args, { timeoutMs: 600_000 });
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
}
