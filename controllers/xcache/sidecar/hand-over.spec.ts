import { describe, expect, it } from 'vitest';
import type { EngineFacts } from '#xcache/engine/info.ts';
import type { EngineSession } from '#xcache/engine/session.ts';
import { handOver } from './hand-over.ts';

/** Two engines that write down what they are asked; the master has handed over once the replica was asked how far it is. */
function engines({ failsAt }: { failsAt?: string } = {}) {
  const asked: string[] = [];
  const engine = (name: string, facts: () => Partial<EngineFacts>): EngineSession => ({
    async call(command, ...args) {
      asked.push([name, command, ...args].join(' '));
      if (command === failsAt) throw new Error(`${command} is refused`);
      if (command === 'REPLCONF') return new Promise(() => undefined);
      return 'OK';
    },
    facts: async () => facts() as EngineFacts,
    close: () => void asked.push(`${name} closed`),
  });
  const isAsked = () => asked.includes('heir REPLCONF GETACK *');
  const master = engine('master', () => (isAsked() ? { role: 'replica' } : { role: 'master', failingOver: true }));
  return { asked, master, heir: { address: '10.0.0.2', connect: async () => engine('heir', () => ({})) } };
}

describe('handing over', () => {
  it('has the replica say at once that it has everything, and cuts clients before roles change and before what waits is let go', async () => {
    const { asked, master, heir } = engines();
    expect(await handOver(master, heir)).toBeUndefined();
    expect(asked.map((line) => line.split(' ', 3).join(' '))).toEqual([
      'master CLIENT PAUSE',
      'master CLIENT KILL',
      'master CLIENT KILL',
      'master FAILOVER TO',
      'heir REPLCONF GETACK',
      'master CONFIG SET',
      'master CLIENT KILL',
      'master CLIENT KILL',
      'heir closed',
      'master CLIENT UNPAUSE',
    ]);
  });

  it('lets what waits go on where the engine refuses', async () => {
    const { asked, master, heir } = engines({ failsAt: 'FAILOVER' });
    await expect(handOver(master, heir)).rejects.toThrow('FAILOVER is refused');
    expect(asked.at(-1)).toBe('master CLIENT UNPAUSE');
    expect(await handOver(master, { ...heir, address: undefined })).toBe('where the target is is not known');
  });
});
