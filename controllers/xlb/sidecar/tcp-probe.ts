import { connect } from 'node:net';
import type { Instance } from './table.ts';

/** Connections of a probe at once: a large service is looked at without a burst that would look like an attack. */
const AT_ONCE = 64;

/** Ids of the instances that accept a TCP connection within `timeoutMs` milliseconds. Never throws. */
export async function probeAlive(instances: readonly Instance[], timeoutMs = 500, signal?: AbortSignal): Promise<Set<string>> {
  const alive = new Set<string>();
  const queue = [...instances];
  const worker = async () => {
    for (let next = queue.pop(); next !== undefined && !signal?.aborted; next = queue.pop()) {
      if (await accepts(next.address, next.port, timeoutMs)) alive.add(next.id);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, queue.length) }, worker));
  return alive;
}

function accepts(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
