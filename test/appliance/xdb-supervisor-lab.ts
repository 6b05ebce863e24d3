import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from '#core/sleep.ts';
import { run } from '#core/spawn.ts';
import { xdbStage } from '#test/xdb-image.ts';

const FAKE = join(import.meta.dirname, '../lib/xdb-fake-sidecar.mjs');

/** What the stand-in of the sidecar does by itself, read at each of its starts. */
export interface Boot {
  /** Says all the time that it is well for so long. */
  petMs?: number;
  /** Ends at once with this code. */
  exit?: number;
  /** Ends so long after `term`; never unless given. */
  endAfterMs?: number;
}

/** A member with the real supervisor, the real engine and HAProxy, and a sidecar that does what the test says. */
export interface Supervised {
  container: string;
  /** What the sidecars heard: `<pid> <line>`. */
  heard(): Promise<{ pid: number; line: string }[]>;
  /** Waits for a line that a sidecar hears. @param after only lines beyond so many count */
  hears(what: RegExp, after?: number): Promise<RegExpExecArray>;
  boot(boot: Boot): Promise<void>;
  /** Raw text to the supervisor. */
  say(text: string): Promise<void>;
  pet(ms: number): Promise<void>;
  command(command: Record<string, unknown>): Promise<void>;
  /** Makes data and starts mariadbd by the sidecar's word; back when it answers. @returns its pid */
  startEngine(): Promise<number>;
  engineAnswers(): Promise<boolean>;
  /** Runs a program in the container as root. */
  exec(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  kill(signal: string, pid: number): Promise<void>;
  /** Pids by the name of the program, youngest last; zombies left out. */
  pids(name: string): Promise<number[]>;
  alive(pid: number): Promise<boolean>;
  /** A line of /proc/<pid>/status. */
  status(pid: number, field: string): Promise<string>;
  logs(): Promise<string>;
  state(): Promise<{ Running: boolean; ExitCode: number; OOMKilled: boolean }>;
  writeFake(name: string, text: string): Promise<void>;
  stop(): Promise<void>;
}

export const ENGINE = ['/usr/sbin/mariadbd', '--skip-ssl', '--server-id=1', '--innodb-buffer-pool-size=16M'];

export const netstrings = (args: readonly string[]) => args.map((arg) => `${Buffer.byteLength(arg)}:${arg},`).join('');

export async function docker(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('docker', args);
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

export async function startSupervised(boot: Boot = {}, options: readonly string[] = []): Promise<Supervised> {
  const image = process.env.XCAAS_TEST_XDB_MEMBER_IMAGE ?? (await xdbStage('member'));
  const folder = await mkdtemp(join(tmpdir(), 'xdb-sup-'));
  await chmod(folder, 0o755);
  for (const name of ['fake', 'member']) {
    await mkdir(join(folder, name));
    await chmod(join(folder, name), 0o777);
  }
  await cp(FAKE, join(folder, 'fake/sidecar.mjs'));
  const container = `xcaas-test-xdbsup-${folder.slice(-6).toLowerCase()}`;
  const member: Supervised = {
    container,
    async heard() {
      const text = await readFile(join(folder, 'fake/heard'), 'utf8').catch(() => '');
      return text
        .split('\n')
        .slice(0, -1)
        .map((line) => ({ pid: Number.parseInt(line, 10), line: line.slice(line.indexOf(' ') + 1) }));
    },
    async hears(what, after = 0) {
      const found = await waitFor(
        async () => {
          const lines = (await member.heard()).slice(after);
          return lines.map(({ line }) => what.exec(line)).find((match) => match !== null) ?? undefined;
        },
        { timeoutMs: 30_000, intervalMs: 50 },
      );
      if (found === undefined) {
        const lines = (await member.heard()).map(({ pid, line }) => `${pid} ${line}`);
        throw new Error(`no sidecar heard ${what}:\n${lines.join('\n')}\n${await member.logs()}`);
      }
      return found;
    },
    boot: (next) => member.writeFake('boot.json', JSON.stringify(next)),
    say: (text) => member.command({ say: text }),
    pet: (ms) => member.command({ petMs: ms }),
    async command(command) {
      const path = join(folder, 'fake/control.sock');
      const sent = await waitFor(() => ask(path, JSON.stringify(command)).catch(() => undefined), { timeoutMs: 30_000 });
      if (sent === undefined) throw new Error(`the sidecar does not take commands:\n${await member.logs()}`);
    },
    async startEngine() {
      await member.exec('setpriv', '--reuid=7481', '--regid=7481', '--clear-groups', 'mariadb-install-db', '--skip-ssl', '--skip-test-db');
      const before = (await member.heard()).length;
      await member.say(`start ${netstrings(ENGINE)}\n`);
      const [, pid] = await member.hears(/^engine started (\d+)$/, before);
      const up = await waitFor(async () => ((await member.engineAnswers()) ? true : undefined), { timeoutMs: 60_000 });
      if (!up) throw new Error(`the engine does not answer:\n${await member.logs()}`);
      return Number(pid);
    },
    // Refused for want of a password is an answer too.
    engineAnswers: async () => (await member.exec('mariadb-admin', '--connect-timeout=2', 'ping')).code === 0,
    exec: (...args) => run('docker', ['exec', container, ...args]),
    async kill(signal, pid) {
      const { code, stderr } = await member.exec('sh', '-c', `kill -${signal} ${pid}`);
      // Ended by SIGKILL itself: the container ended with that process, and this shell with it.
      if (code !== 0 && code !== 137) throw new Error(`kill -${signal} ${pid} in ${container}: code ${code} ${stderr}`);
    },
    async pids(name) {
      const script =
        'for d in /proc/[0-9]*; do read -r n <"$d/comm" || continue; [ "$n" = "$1" ] && ! grep -q "^State:.Z" "$d/status" && echo "${d#/proc/}"; done; true';
      const { stdout } = await member.exec('sh', '-c', script, 'sh', name.slice(0, 15));
      return stdout
        .split('\n')
        .filter(Boolean)
        .map(Number)
        .sort((a, b) => a - b);
    },
    alive: async (pid) => (await member.exec('sh', '-c', `[ -d /proc/${pid} ] && ! grep -q '^State:.Z' /proc/${pid}/status`)).code === 0,
    async status(pid, field) {
      const { stdout } = await member.exec('grep', `^${field}:`, `/proc/${pid}/status`);
      return stdout.slice(field.length + 1).trim();
    },
    async logs() {
      const { stdout, stderr } = await run('docker', ['logs', container]);
      return stdout + stderr;
    },
    state: async () => JSON.parse(await docker('inspect', '-f', '{{json .State}}', container)),
    writeFake: (name, text) => writeFile(join(folder, 'fake', name), text),
    async stop() {
      await run('docker', ['rm', '-f', '-v', container]);
      await rm(folder, { recursive: true, force: true });
    },
  };
  await member.boot(boot);
  const mounts = ['-v', `${join(folder, 'fake')}:/fake`, '-v', `${join(folder, 'member')}:/run/member`];
  try {
    await docker(
      'run',
      '-d',
      '--name',
      container,
      '--network',
      'none',
      ...mounts,
      ...options,
      image,
      '/usr/local/bin/node',
      '/fake/sidecar.mjs',
    );
    return member;
  } catch (error) {
    await member.stop();
    throw error;
  }
}

function ask(path: string, text: string): Promise<true> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    let answer = '';
    socket.setTimeout(2000, () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.on('end', () => {
      socket.end();
      if (answer === 'done') resolve(true);
      else reject(new Error('no answer'));
    });
    socket.end(text);
  });
}
