import { connect } from 'node:net';
import { AppError, messageOf, systemCode } from '#core/errors.ts';

/** A unix socket whose server answers and then closes. */
export interface ExchangeTarget {
  socketPath: string;
  /** Who answers there, for messages. */
  who: string;
}

/**
 * Writes `request`, which has to make the server close after its answer, and reads until it does. Our side stays open: HAProxy 3.0 throws away commands
 * that it has not read yet when it sees the end of its input (14 of 120 long exchanges failed so).
 *
 * @param timeoutMs for the whole of it, in milliseconds
 * @throws AppError `unavailable` when nobody listens, `engine` when the connection breaks, `timeout`
 */
export function exchange({ socketPath, who }: ExchangeTarget, request: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path: socketPath });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new AppError('timeout', `${who} did not answer on ${socketPath} within ${timeoutMs} ms`));
    }, timeoutMs);
    const end = () => {
      clearTimeout(timer);
      socket.destroy();
    };
    socket.on('connect', () => socket.write(request));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => {
      end();
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
    socket.on('error', (cause) => {
      end();
      const nobody = ['ENOENT', 'ECONNREFUSED'].includes(systemCode(cause) ?? '');
      reject(new AppError(nobody ? 'unavailable' : 'engine', `${who} cannot be asked on ${socketPath}: ${messageOf(cause)}`, { cause }));
    });
  });
}
