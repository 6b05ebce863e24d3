import { rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { AppError, systemCode } from '#core/errors.ts';

/**
 * A1: one sidecar a volume. The lock is a unix socket in the volume: the kernel closes it when its holder dies, however it dies, and another container on
 * the same volume sees it too. Who finds somebody listening there leaves.
 *
 * @returns to be closed at the end
 * @throws AppError `conflict` when another sidecar lives
 */
export async function holdInstanceLock(path: string): Promise<{ close(): void }> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  if (!(await listen(server, path))) {
    if (await isAnswered(path)) throw alive(path);
    // Left by one that was killed.
    await rm(path, { force: true });
    if (!(await listen(server, path))) throw alive(path);
  }
  // Two that found the same dead one: the second removed what the first had bound, and the first must not go on.
  const mine = (await stat(path)).ino;
  await new Promise((resolve) => setTimeout(resolve, 50));
  const there = await stat(path).catch(() => undefined);
  // Not closed: that would remove what the other has bound.
  if (there?.ino !== mine) throw alive(path);
  return { close: () => server.close() };
}

function alive(path: string): AppError {
  return new AppError('conflict', `another sidecar runs on this volume: it holds ${path}`);
}

/** @returns false when the path is taken */
function listen(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => (systemCode(error) === 'EADDRINUSE' ? resolve(false) : reject(error));
    server.once('error', failed);
    server.listen(path, () => {
      server.off('error', failed);
      resolve(true);
    });
  });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
