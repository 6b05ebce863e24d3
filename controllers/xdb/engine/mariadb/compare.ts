import { spawn } from 'node:child_process';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Gtid, MasterAddress } from '#xdb/engine/engine.ts';
import type { Programs } from './options.ts';
import { tailOf } from './tools.ts';

export type Comparison = 'contained' | 'diverged' | 'unknown';

/** What a master says to a position that is not in its binlog, or that it cannot continue from any more (sql_repl.cc). */
const NOT_THERE = /is not in the master's binlog|Could not find GTID state requested by slave/;
/** First transaction after the position: it was found. */
const A_TRANSACTION = /^#.*\bGTID \d+-\d+-\d+/m;
/** Said when the binlog ends before a transaction of that number comes once more: it was found, and nothing stands after it. */
const ITS_END = /Did not reach stop position/;

/**
 * J2: whether the master's binlog has exactly this transaction. The master itself looks, as it does for a slave that connects in strict mode: it compares server and
 * number with what stands in its binlog there, where its list of last transactions would only tell that there once was one of a higher number.
 *
 * `diverged` also when the master's binlog begins later: either way there is no following from there.
 */
export async function compareWith(
  programs: Pick<Programs, 'binlog'>,
  position: Gtid,
  master: MasterAddress,
  log: Logger,
  timeoutMs: number,
): Promise<Comparison> {
  // Data without a history are nobody's copy.
  if (position === '') return 'diverged';
  const { host, port, user, password, caFile } = master;
  const tls = caFile === undefined ? ['--skip-ssl'] : [`--ssl-ca=${caFile}`, '--skip-ssl-verify-server-cert'];
  const args = [
    '--no-defaults',
    '--read-from-remote-server',
    `--host=${host}`,
    `--port=${port}`,
    `--user=${user}`,
    ...tls,
    `--start-position=${position}`,
    `--stop-position=${position}`,
    // Asked for by position; a name has to be there.
    'binlog.000001',
  ];
  return new Promise((resolve) => {
    const child = spawn(programs.binlog, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, MYSQL_PWD: password } });
    let found = false;
    let seen = '';
    const said = tailOf(child.stderr);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (found) return;
      seen = (seen + text).slice(-8192);
      found = A_TRANSACTION.test(seen);
      // The rest of the master's binlog is nobody's business here.
      if (found) child.kill('SIGKILL');
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      log.warn({ err: messageOf(error) }, 'the master could not be asked what it has');
      resolve('unknown');
    });
    child.once('close', () => {
      clearTimeout(timer);
      if (found) return resolve('contained');
      if (NOT_THERE.test(said())) return resolve('diverged');
      if (ITS_END.test(said()) && !/^ERROR: (Got error|Failed|Could not)/m.test(said())) return resolve('contained');
      log.info({ master: host, said: said().slice(-300) }, 'the master could not be asked what it has');
      resolve('unknown');
    });
  });
}
