import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { bundledProgram, spawnProgram } from '#test/program.ts';
import type { LoadAnswer, LoadOrders } from './oltp-client.ts';

/** A program that loads one database from a container beside it. */
export interface Load {
  run(threads: number, seconds: number): Promise<LoadAnswer>;
  stop(): void;
}

export function startLoad(network: string, name: string, orders: LoadOrders): Load {
  const program = bundledProgram(fileURLToPath(new URL('./oltp-client.ts', import.meta.url)), { name: 'oltp' });
  const child = spawnProgram({ inContainer: { host: { env: {} }, network, image: 'node:24-trixie-slim', name } }, program);
  let [stderr, ended] = ['', false];
  const waiting: { resolve(answer: LoadAnswer): void; reject(error: Error): void }[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-2000);
  });
  child.stdin?.on('error', () => undefined);
  child.on('close', () => {
    ended = true;
    for (const { reject } of waiting.splice(0)) reject(new Error(`the load has ended: ${stderr}`));
  });
  createInterface({ input: child.stdout! }).on('line', (line) => waiting.shift()?.resolve(JSON.parse(line) as LoadAnswer));
  child.stdin?.write(`${JSON.stringify(orders)}\n`);
  return {
    run: (threads, seconds) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(new Error(`the load has ended: ${stderr}`));
        waiting.push({ resolve, reject });
        child.stdin?.write(`run ${threads} ${seconds}\n`);
      }),
    stop() {
      child.stdin?.end();
    },
  };
}
