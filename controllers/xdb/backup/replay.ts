import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, messageOf } from '#core/errors.ts';
import type { Scratch } from './scratch.ts';

/**
 * Applies a binlog to a scratch engine with the engine's own tools: `mariadb-binlog` makes statements of it, `mariadb` executes them and ends with the first
 * one that fails.
 *
 * @throws AppError `engine` with what the tools said: the data is then of no use
 */
export async function replay(binlog: Readable, scratch: Scratch, signal: AbortSignal): Promise<void> {
  const reader = tool('mariadb-binlog', ['--no-defaults', '-'], signal);
  const client = tool('mariadb', [`--defaults-file=${scratch.clientFile}`, '--binary-mode', '--batch', '--max-allowed-packet=1G'], signal);
  client.child.stdout.resume();
  const results = await Promise.allSettled([
    pipeline(binlog, reader.child.stdin),
    pipeline(reader.child.stdout, client.child.stdin),
    reader.ended,
    client.ended,
  ]);
  signal.throwIfAborted();
  const [content, , readerEnd, clientEnd] = results;
  // The cause before its consequences: the client's refusal closes the pipe of the reader, and that the one of the content.
  if (clientEnd.status === 'rejected') throw clientEnd.reason;
  if (binlog.errored) throw binlog.errored;
  if (readerEnd.status === 'rejected') throw readerEnd.reason;
  const broken = results.find((result) => result.status === 'rejected');
  if (content.status === 'rejected' || broken !== undefined) {
    throw new AppError('engine', `the binlog could not be applied: ${messageOf((broken as PromiseRejectedResult).reason)}`);
  }
}

function tool(file: string, args: readonly string[], signal: AbortSignal) {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(new AppError('engine', `${file} failed: ${cause.message}`, { cause })));
    child.once('close', (code) => {
      if (code === 0) return resolve();
      reject(new AppError('engine', `the binlog could not be applied: ${file} ended with ${code}: ${said.trim().slice(-600)}`));
    });
  });
  ended.catch(() => undefined);
  return { child, ended };
}
