import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createMaster } from './master.ts';

const HEAD =
  '#<PID>          <type>          <reloads>       <uptime>        <version>\n1               master          1 [failed: 0]   0d00h00m09s     3.0\n# workers\n';
const proc = (old: string) =>
  `${HEAD}8               worker          0               0d00h00m02s     3.0\n# old workers\n${old}# programs\n\n`;
const OLD = '7               worker          1               0d00h00m09s     3.0\n';

/** A master whose worker 7 says nothing, for as long as `lives` holds. */
async function masterOf(lives: () => boolean, answers: () => string | undefined) {
  const folder = await mkdtemp(join(tmpdir(), 'xm-'));
  const socketPath = join(folder, 'master.sock');
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (text) => {
      const answer = String(text).startsWith('show proc') ? proc(lives() ? OLD : '') : answers();
      if (answer !== undefined) socket.end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  onTestFinished(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  return createMaster({ socketPath, timeoutMs: 1500 });
}

it('takes a worker that ends while it is asked for ended, not for a fault', async () => {
  const master = await masterOf(
    () => false,
    () => undefined,
  );
  expect(await master.stat(7)).toEqual([]);
  await expect(master.shutdownSessions(7, ['0x1'])).resolves.toBeUndefined();
});

it('asks a worker that lives and is slow once more, and says that it does not answer', async () => {
  let asked = 0;
  const master = await masterOf(
    () => true,
    () => {
      asked += 1;
      return undefined;
    },
  );
  await expect(master.sessions(7)).rejects.toMatchObject({ code: 'timeout' });
  expect(asked).toBe(2);
});
