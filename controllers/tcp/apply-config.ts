import { rename, rm } from 'node:fs/promises';
import { AppError, hasCode, messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import { waitFor } from '#core/sleep.ts';
import { generationIn } from '#tcp/config.ts';
import { isDown, type Master } from '#tcp/master.ts';
import { proxyName } from '#tcp/names.ts';
import { observeServers } from '#tcp/observe.ts';
import { parseInfo } from '#tcp/parse.ts';
import type { Runtime } from '#tcp/runtime.ts';
import type { TcpConfig } from '#tcp/schema.ts';

export interface SwapOptions {
  /** The file that HAProxy is started with. */
  configPath: string;
  /** The new content and the generation written in it. */
  text: string;
  generation: string;
  runtime: Runtime;
  master: Master;
  check: CheckConfig;
  log: Logger;
}

/** `haproxy -c` on a file. */
export type CheckConfig = (path: string) => Promise<{ ok: boolean; output: string }>;

/** `staged`: no HAProxy runs; it will start with the new file. */
export type SwapOutcome = 'reloaded' | 'staged';

/** How long a new worker may take to answer after the master has said that it runs. */
const ANSWERS_WITHIN_MS = 5000;

/** Path of the file before the current one: HAProxy ran with it. */
export function lastGoodPath(configPath: string): string {
  return `${configPath}.last-good`;
}

/**
 * Puts a new file in place: checked beside the old one, swapped by a rename, loaded by the master, and believed only when a worker answers with its
 * generation. Otherwise the old file comes back, and HAProxy serves with it as before.
 *
 * Listening sockets pass from worker to worker, so no connection is refused meanwhile; connections that are there stay with the replaced worker.
 *
 * @throws AppError `config_rejected` with HAProxy's reason, `port_taken`; the old configuration is then in force
 */
export async function swapConfig(options: SwapOptions): Promise<SwapOutcome> {
  const { configPath, text, generation, runtime, master, check, log } = options;
  const next = `${configPath}.next`;
  await writeFileAtomic(next, text);
  const checked = await check(next);
  if (!checked.ok) {
    await rm(next, { force: true });
    throw new AppError('config_rejected', `HAProxy refuses the new configuration: ${alerts(checked.output)}`, {
      hint: 'the one before it stays in force',
    });
  }

  const running = await master.processes().then(
    () => true,
    (error: unknown) => {
      if (isDown(error)) return false;
      throw error;
    },
  );
  const before = await readIfThere(configPath);
  if (before !== undefined) await writeFileAtomic(lastGoodPath(configPath), before);
  await rename(next, configPath);
  if (!running) return 'staged';

  let why: string;
  try {
    const answer = await master.reload();
    why = answer.ok ? `no worker answered with it within ${ANSWERS_WITHIN_MS} ms` : alerts(answer.output);
    if (!answer.ok) {
      await restore(configPath, before);
      throw refusedReload(why);
    }
  } catch (error) {
    if (hasCode(error, 'config_rejected') || hasCode(error, 'port_taken')) throw error;
    // Whether the master acted is not known; the generation that answers tells.
    why = messageOf(error);
  }
  if (await answersWith(runtime, generation)) return 'reloaded';

  await restore(configPath, before);
  await master
    .reload()
    .catch((error: unknown) => log.error({ err: messageOf(error) }, 'HAProxy could not be told to return to its last good configuration'));
  throw new AppError('config_rejected', `the new configuration of HAProxy was taken back: ${why}`);
}

/** Generation that the current worker runs with; undefined when none of ours runs. @throws AppError `timeout` */
export async function runningGeneration(runtime: Runtime): Promise<string | undefined> {
  try {
    return generationIn(parseInfo(await runtime.ask('show info')).get('description'));
  } catch (error) {
    if (isDown(error)) return undefined;
    throw error;
  }
}

async function answersWith(runtime: Runtime, generation: string): Promise<boolean> {
  const probe = async () => ((await runningGeneration(runtime).catch(() => undefined)) === generation ? true : undefined);
  return (await waitFor(probe, { timeoutMs: ANSWERS_WITHIN_MS, intervalMs: 20 })) === true;
}

async function restore(configPath: string, before: string | undefined): Promise<void> {
  if (before !== undefined) await writeFileAtomic(configPath, before);
}

function refusedReload(why: string): AppError {
  if (/Address already in use/i.test(why)) {
    return new AppError('port_taken', `HAProxy cannot listen: ${why}`, { hint: 'free the port, or choose another one for the listener' });
  }
  return new AppError('config_rejected', `HAProxy refuses to load the new configuration: ${why}`, {
    hint: 'the one before it stays in force',
  });
}

/** The lines that say what is wrong, without their prefix. */
function alerts(output: string): string {
  const lines = output.split('\n').flatMap((line) => /^\[ALERT\]\s+\(\d+\) : (.*)$/.exec(line.trim())?.[1] ?? []);
  return (lines.length > 0 ? lines.slice(0, 3).join('; ') : output.trim().slice(-500)) || 'it gave no reason';
}

/** `proxy/server` of the peers that HAProxy's own checks have found down. */
export async function peersDownByCheck(runtime: Runtime, config: TcpConfig): Promise<string[]> {
  const checked = new Set(config.backends.filter((backend) => backend.check !== 'none').map((backend) => proxyName(backend.name)));
  const servers = await observeServers(runtime);
  return servers
    .filter((server) => checked.has(server.proxy) && server.checked && server.admin === 'ready' && server.operational === 0)
    .map((server) => `${server.proxy}/${server.server}`);
}
