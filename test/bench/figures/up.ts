import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { httpRequest } from '#core/http.ts';
import { PORTS } from '#core/paths.ts';
import { run } from '#core/spawn.ts';
import type { Row, Say } from '../figure.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** `./xcaas up` once more, where this machine is a host of a running pool already; nothing is set up for the sake of a measurement. */
export async function up(say: Say): Promise<Row[]> {
  const row = { figure: './xcaas up again', bar: '< 15 s' };
  if (!(await isUp())) return [{ ...row, measured: 'not measured: no pool runs on this machine', met: undefined, values: {} }];
  const began = performance.now();
  const { code, stdout, stderr } = await run(join(ROOT, 'xcaas'), ['up', '--yes'], { timeoutMs: 300_000 });
  const seconds = (performance.now() - began) / 1000;
  if (code !== 0) say(`./xcaas up ended with ${code}: ${stdout.slice(-500)}${stderr.slice(-500)}`);
  const measured = code === 0 ? `${seconds.toFixed(1)} s` : `failed with ${code} after ${seconds.toFixed(1)} s`;
  return [{ ...row, measured, met: code === 0 && seconds < 15, values: { seconds, code } }];
}

async function isUp(): Promise<boolean> {
  if (!existsSync(`${process.env.XCAAS_ROOT ?? ''}/var/lib/xcaas/host.json`)) return false;
  const health = httpRequest({ host: '127.0.0.1', port: PORTS.api, method: 'GET', path: '/health', headers: {}, timeoutMs: 3000 });
  return health.then(
    ({ status }) => status === 200,
    () => false,
  );
}
