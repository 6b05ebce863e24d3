import { describe, expect, it } from 'vitest';
import { shareMemory } from './memory.ts';
import { SAFETY, startCommand } from './start-options.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const input = {
  role: 'MASTER' as const,
  semiSyncMaster: true,
  parameters: {},
  serverId: 7,
  memoryBytes: GIB,
  server: '/usr/sbin/mariadbd',
  defaultsFile: '/etc/mysql/my.cnf',
  dataDir: '/data',
  socketPath: '/run/engine.sock',
  instance: 'abc',
};
const option = (args: readonly string[], name: string) =>
  args.filter((arg) => arg.startsWith(`--${name}=`)).map((arg) => arg.slice(name.length + 3));

describe('the command line of an engine', () => {
  it('names the file first and everything once', () => {
    const { file, args } = startCommand({ ...input, parameters: { 'max-connections': '99', innodb_buffer_pool_size: '256M' } });
    expect(file).toBe('/usr/sbin/mariadbd');
    expect(args[0]).toBe('--defaults-file=/etc/mysql/my.cnf');
    const names = args.map((arg) => arg.split('=')[0]);
    expect(new Set(names).size).toBe(names.length);
    expect(option(args, 'max-connections')).toEqual(['99']);
    expect(option(args, 'innodb-buffer-pool-size')).toEqual([String(256 * MIB)]);
  });

  it('starts read-only, follows nobody, and waits for acknowledgements only when told to', () => {
    for (const role of ['MASTER', 'SLAVE'] as const) {
      for (const semiSyncMaster of [true, false]) {
        const { args } = startCommand({ ...input, role, semiSyncMaster });
        expect(option(args, 'init-rpl-role')).toEqual([role]);
        expect(option(args, 'read-only')).toEqual(['ON']);
        expect(option(args, 'skip-slave-start')).toEqual(['ON']);
        expect(option(args, 'rpl-semi-sync-slave-enabled')).toEqual(['OFF']);
        expect(option(args, 'rpl-semi-sync-master-enabled')).toEqual([semiSyncMaster ? 'ON' : 'OFF']);
        expect(option(args, 'server-id')).toEqual(['7']);
        expect(option(args, 'report-user')).toEqual(['abc']);
      }
    }
  });

  it('has what the protocol stands on, whatever the file says', () => {
    const { args } = startCommand(input);
    for (const [name, value] of Object.entries(SAFETY)) expect(option(args, name.replaceAll('_', '-'))).toEqual([value]);
  });

  it('takes no parameter that is not on the list', () => {
    expect(() => startCommand({ ...input, parameters: { sync_binlog: '0' } })).toThrow(expect.objectContaining({ code: 'invalid' }));
    expect(() => startCommand({ ...input, parameters: { 'skip-grant-tables': 'ON' } })).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    );
  });
});

describe('the memory of a member', () => {
  it.each([
    [512 * MIB, 192 * MIB, 50],
    [GIB, 576 * MIB, 128],
    [4 * GIB, 2456 * MIB, 922],
    [64 * GIB, 39320 * MIB, 5000],
  ])('of %d bytes', (memory, bufferPoolBytes, maxConnections) => {
    expect(shareMemory(memory)).toEqual({ bufferPoolBytes, maxConnections });
  });

  it('is enough for the least that there is', () => {
    expect(shareMemory(256 * MIB)).toEqual({ bufferPoolBytes: 32 * MIB, maxConnections: 50 });
  });
});
