import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Engine } from '#xdb/engine/engine.ts';

/** Copies of the data as the engine's own tools make them. */
export function cloneEngine(dataDir: string): Pick<Engine, 'dump' | 'load' | 'flavor'> {
  return {
    flavor: 'mariadb',
    async dump(to, { signal }) {
      const args = [
        '--backup',
        '--stream=mbstream',
        `--datadir=${dataDir}`,
        '--target-dir=/tmp/xtrabackup',
        '--user=mysql',
        '--socket=/run/xdb/engine.sock',
      ];
      const child = spawn('mariadb-backup', args, { stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
      const said = collect(child.stderr);
      const ended = end(child, 'mariadb-backup', said);
      await Promise.all([pipeline(child.stdout, to, { signal, end: false }), ended]);
      const gtid = /GTID of the last change '([^']*)'/.exec(said())?.[1];
      if (gtid === undefined || !/completed OK!\s*$/.test(said())) throw new Error(`no complete copy: ${said().slice(-500)}`);
      return { gtid };
    },
    async load(from, { signal }) {
      const extract = spawn('mbstream', ['-x', '-C', dataDir], { stdio: ['pipe', 'ignore', 'pipe'], signal, killSignal: 'SIGKILL' });
      const said = collect(extract.stderr);
      await Promise.all([pipeline(from, extract.stdin, { signal }), end(extract, 'mbstream', said)]);
      const prepare = spawn('mariadb-backup', ['--prepare', `--target-dir=${dataDir}`], { stdio: ['ignore', 'ignore', 'pipe'], signal });
      const prepared = collect(prepare.stderr);
      await end(prepare, 'mariadb-backup --prepare', prepared);
      const info = await readFile(`${dataDir}/mariadb_backup_binlog_info`, 'utf8').catch(() =>
        readFile(`${dataDir}/xtrabackup_binlog_info`, 'utf8'),
      );
      return { gtid: info.trim().split('\t')[2] ?? '' };
    },
  };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

function end(child: ReturnType<typeof spawn>, name: string, said: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`${name} ended with ${code}: ${said().slice(-500)}`))));
  });
}
