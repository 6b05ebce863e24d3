import { describe, expect, it } from 'vitest';
import { describeParameters, engineSettings, needRestart, PARAMETERS, parameter, validateParameters } from './parameters.ts';

const SPEC = { mode: 'replicated', memoryBytes: 4 * 2 ** 30, persistence: 'none', parameters: {} } as const;
const read = (given: Record<string, string>) => validateParameters(given, SPEC);

describe('settings of a cache’s engine', () => {
  it('are read as people write them', () => {
    expect(
      read({ Maxclients: ' 500 ', notify_keyspace_events: 'Ex', 'lazyfree-lazy-user-del': 'off', 'client-query-buffer-limit': '16M' }),
    ).toEqual({
      'client-query-buffer-limit': String(16 * 2 ** 20),
      'lazyfree-lazy-user-del': 'no',
      maxclients: '500',
      'notify-keyspace-events': 'Ex',
    });
  });

  it.each([
    ['maxmemory', 'memory of a member'],
    ['maxmemory-policy', 'place of its own'],
    ['min-replicas-to-write', 'fenced'],
    ['min-slaves-max-lag', 'failover'],
    ['replicaof', 'failover'],
    ['repl-backlog-size', 'failover'],
    ['masterauth', 'failover'],
    ['appendonly', 'persistence'],
    ['save', 'persistence'],
    ['dir', 'persistence'],
    ['dbfilename', 'persistence'],
    ['cluster-node-timeout', 'cluster'],
    ['requirepass', 'who may do what'],
    ['enable-debug-command', 'who may do what'],
    ['tls-port', 'who may do what'],
    ['loadmodule', 'who may do what'],
    ['logfile', 'how the member is built'],
    ['shutdown-on-sigterm', 'how the member is built'],
    ['client_output_buffer_limit', 'memory of a member'],
    ['lua-time-limit', 'busy-reply-threshold'],
    ['lazyfree-lazy-user-flush', 'taken for its death'],
  ])('%s is refused with its reason', (name, reason) => {
    expect(() => read({ [name]: '1' })).toThrow(expect.objectContaining({ code: 'invalid', message: expect.stringContaining(reason) }));
  });

  it.each([
    [{ maxclients: '5' }, '100 to 60000'],
    [{ 'busy-reply-threshold': '5000' }, '100 to 1500'],
    [{ 'notify-keyspace-events': 'Ex\nappendonly yes' }, 'a value like Ex'],
    [{ 'maxmemory-clients': '90%' }, 'a value like 10%'],
    [{ 'proto-max-bulk-len': '512M', maxclients: '100', 'max-clients': '1' }, 'not a parameter'],
    [{ hz: '10', HZ: '20' }, 'twice'],
  ])('%j is refused', (given, reason) => {
    expect(() => read(given as unknown as Record<string, string>)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(reason) }),
    );
  });

  it('fit the cache that they are for', () => {
    const small = { ...SPEC, memoryBytes: 2 ** 29 };
    expect(() => validateParameters({ 'proto-max-bulk-len': '512M' }, small)).toThrow('more than the');
    expect(() => validateParameters({ databases: '4' }, { ...SPEC, mode: 'cluster' })).toThrow('one database');
    expect(() => parameter('clients')).toThrow(expect.objectContaining({ hint: expect.stringContaining('maxclients') }));
  });

  it('are the same when what came out goes in again, and each has one place', () => {
    const values = Object.fromEntries(describeParameters(SPEC).map(({ name, value }) => [name, value]));
    expect(read(values)).toEqual(values);
    expect(new Set(PARAMETERS.map(({ name }) => name)).size).toBe(PARAMETERS.length);
  });

  it('say which of them a running engine takes, and which a start only', () => {
    const changed = { ...SPEC, parameters: { maxclients: '500', databases: '4' } };
    expect(engineSettings(changed, 'live')).toContainEqual(['maxclients', '500']);
    expect(engineSettings(changed, 'live').map(([name]) => name)).not.toContain('databases');
    expect(engineSettings(changed, 'start')).toContainEqual(['databases', '4']);
    // One that was given back its default has it again, also without a start.
    expect(engineSettings(SPEC, 'live')).toContainEqual(['maxclients', '10000']);
    expect(engineSettings({ ...SPEC, mode: 'cluster' }, 'start').map(([name]) => name)).not.toContain('databases');
    expect(needRestart({}, changed.parameters)).toEqual(['databases']);
  });
});
