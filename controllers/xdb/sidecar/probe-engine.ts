import { connect } from 'node:net';

/**
 * Whether an engine greets whoever opens a connection. One that is frozen, or behind a network that swallows packets, does not, though its host's kernel
 * may still accept the connection.
 */
export function probeEngine(address: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const finish = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    socket.once('data', () => finish(true));
    socket.on('error', () => finish(false));
    socket.once('end', () => finish(false));
  });
}
