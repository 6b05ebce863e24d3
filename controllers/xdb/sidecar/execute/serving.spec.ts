import { expect, it } from 'vitest';
import { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import { createHeartbeat } from '../heartbeat.ts';
import type { Moment, Tools } from './context.ts';
import { readOnly } from './serving.ts';

/** A leader that has just been opened in the record, with the real writer of heartbeats. @param fails what the engine refuses */
function leader(fails?: string) {
  const asked: string[] = [];
  const session = {
    instance: 'i',
    async setReadOnly(on: boolean) {
      if (fails === 'read_only') throw new AppError('engine', 'refused');
      asked.push(on ? 'read-only' : 'writable');
    },
    async facts() {
      return { readOnly: false };
    },
    async heartbeat({ epoch, member }: { epoch: number; member: string }) {
      if (fails === 'heartbeat') throw new AppError('timeout', 'nobody acknowledged');
      asked.push(`beat ${epoch} ${member}`);
      return { ms: 1 };
    },
    close: () => undefined,
  };
  const heartbeat = createHeartbeat({
    engine: { connect: async () => session } as unknown as Pick<Engine, 'connect'>,
    log: silentLogger(),
  });
  const tools = { config: { member: 'adb-2' }, heartbeat, link: { session: () => session } } as unknown as Tools;
  const moment = { instance: 'i', view: { protocol: { sync: { value: { epoch: 7 } } } } } as unknown as Moment;
  const run = (on: boolean) => readOnly({ rule: on ? 'W1' : 'O4', do: 'read_only', on, reason: '' }, tools, moment);
  return { asked, run, stop: () => heartbeat.stop() };
}

it('E1: an opening has ended once a row with its epoch was written, and not before it was writable', async () => {
  const { asked, run, stop } = leader();
  expect(await run(false)).toEqual({ is: 'done' });
  expect(asked).toEqual(['writable', 'beat 7 adb-2']);
  await stop();
});

it('E1: whom nobody acknowledges is open all the same: F releases the row as any other commit', async () => {
  const { asked, run, stop } = leader('heartbeat');
  expect(await run(false)).toEqual({ is: 'done' });
  expect(asked).toEqual(['writable']);
  await stop();
});

it('E1: nothing is written by who could not open', async () => {
  const { asked, run, stop } = leader('read_only');
  await expect(run(false)).rejects.toThrow();
  expect(asked).toEqual([]);
  await stop();
});

it('W1: an engine that stays writable goes on with its heartbeat', async () => {
  const { run, asked, stop } = leader('read_only');
  expect(await run(true)).toEqual({ is: 'failed' });
  expect(asked).toEqual([]);
  await stop();
});
