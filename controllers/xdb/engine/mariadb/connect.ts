import { readFile } from 'node:fs/promises';
import { AppError } from '#core/errors.ts';
import type { MasterAddress } from '#xdb/engine/engine.ts';
import type { AGENT, WRITER } from './names.ts';
import type { Setting } from './options.ts';
import { ACCESS_DENIED, errnoOf, openSql, type Sql, TOO_MANY_CONNECTIONS } from './sql.ts';
import { repairAccounts } from './tools.ts';

/** Longest time of a statement that nothing has to wait for, in milliseconds. */
const QUERY_MS = 10_000;

/**
 * A connection of one of our own accounts to the engine beside this process: by the extra port, which is open also when hung commits have used up all connections, else
 * by the socket. An engine whose data came from elsewhere, with another password (a restored backup), is given ours first.
 *
 * @throws AppError `unavailable` while it does not answer
 */
export async function connectLocal(setting: Setting, account: typeof AGENT | typeof WRITER, timeoutMs: number): Promise<Sql> {
  const password = setting.agentPassword();
  if (password === undefined) throw new AppError('unavailable', "the password of the engine's own accounts is not known yet");
  const { host, port } = setting.extra;
  const common = { user: account, password, connectTimeoutMs: timeoutMs, queryTimeoutMs: QUERY_MS };
  const byPort = () => openSql({ ...common, host, port });
  try {
    return await byPort();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === TOO_MANY_CONNECTIONS) return await openSql({ ...common, socketPath: setting.socketPath }).catch(asUnavailable);
    if (errno !== ACCESS_DENIED) return asUnavailable(error);
  }
  await repairAccounts(setting, password);
  setting.log.warn({ account }, "the engine's data had another password of ours; it has the present one now");
  return await byPort().catch(asUnavailable);
}

/** Another member's engine, with the account that replicates. @throws AppError `unavailable`, `timeout`, `engine` */
export async function connectMaster(master: MasterAddress, timeoutMs: number): Promise<Sql> {
  const { host, port, user, password, caFile } = master;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  return openSql({
    host,
    port,
    user,
    password,
    ...(ca === undefined ? {} : { ca }),
    connectTimeoutMs: timeoutMs,
    queryTimeoutMs: timeoutMs,
  });
}

/** An engine that refuses to be connected to does not answer, for whoever asks. */
function asUnavailable(error: unknown): never {
  if (errnoOf(error) === undefined || !(error instanceof AppError)) throw error;
  throw new AppError('unavailable', error.message, { cause: error.cause });
}
