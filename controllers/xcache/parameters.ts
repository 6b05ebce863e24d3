import { AppError } from '#core/errors.ts';
import { atStart, boolean, bytes, integer, type Parameter, type ParameterRow, parameterTable, seconds } from '#pool/parameters.ts';
import { dataBytes } from '#xcache/memory.ts';
import type { CacheSpec } from '#xcache/schema.ts';

/**
 * Settings of the engine that a user may change (`cache param set`, `--opt param.NAME=VALUE`). All that Valkey 9.1 and Redis 8.0 both have. What makes the protocol sound, what has a
 * place of its own in the specification, and what opens the engine to others, is refused with its reason.
 */

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Of the engine's output to slow subscribers: unbounded ones end the member for want of memory. */
const EVENTS = /^[KEg$lshzxetdmnA]{0,14}$/;

export const PARAMETERS: readonly Parameter[] = [
  integer('maxclients', 100, 60_000, 10_000, 'connections at a time'),
  atStart(integer('databases', 1, 1024, 16, 'numbers that SELECT takes')),
  seconds('timeout', 0, 604_800, 0, 'an idle connection is closed after it; 0 = never'),
  {
    name: 'maxmemory-clients',
    dynamic: true,
    about: "share of maxmemory that buffers of clients may take together; the largest ones' clients are cut beyond it",
    kind: 'text',
    pattern: /^([1-9]|[1-4]\d|50)%$/,
    like: '10%',
    default: '10%',
  },
  bytes('client-query-buffer-limit', MIB, GIB, 64 * MIB, 'longest command of a client'),
  bytes('proto-max-bulk-len', MIB, 512 * MIB, 512 * MIB, 'longest value'),
  {
    name: 'notify-keyspace-events',
    dynamic: true,
    about: 'events of keys that are published: letters as the engine has them; none = none',
    kind: 'text',
    pattern: EVENTS,
    like: 'Ex',
    default: '',
  },
  integer('maxmemory-samples', 1, 64, 5, 'keys looked at for each that is evicted'),
  integer('maxmemory-eviction-tenacity', 0, 100, 10, 'how much of its time the engine gives to eviction'),
  integer('lfu-log-factor', 0, 255, 10, 'reads that it takes to count up, with an LFU policy'),
  integer('lfu-decay-time', 0, 10_000, 1, 'minutes in which a count halves, with an LFU policy'),
  integer('hz', 1, 100, 10, 'turns a second of what is done in the background'),
  integer('active-expire-effort', 1, 10, 1, 'work to remove expired keys'),
  // What frees much at once would stall every client, and an engine that says nothing for two seconds is taken for dead.
  boolean('lazyfree-lazy-eviction', true, 'evicted values are freed in the background'),
  boolean('lazyfree-lazy-expire', true, 'the same of expired ones'),
  boolean('lazyfree-lazy-server-del', true, 'the same of overwritten ones'),
  boolean('lazyfree-lazy-user-del', true, 'DEL frees in the background, as UNLINK'),
  boolean('activedefrag', false, 'memory is defragmented while it is in use'),
  integer('active-defrag-threshold-lower', 0, 1000, 10, 'per cent of fragmentation at which it begins'),
  integer('slowlog-log-slower-than', 0, 60_000_000, 10_000, 'microseconds from which a command is in the slow log'),
  integer('slowlog-max-len', 1, 10_000, 128, 'entries of the slow log'),
  integer('latency-monitor-threshold', 0, 60_000, 100, 'milliseconds from which an event is remembered; 0 = none'),
  integer('busy-reply-threshold', 100, 1500, 1000, 'milliseconds after which others hear BUSY while a script runs'),
  integer('hash-max-listpack-entries', 0, 1_000_000, 512, 'fields of a hash that is packed tightly'),
  bytes('hash-max-listpack-value', 1, 64 * MIB, 64, 'longest value of one'),
  integer('set-max-intset-entries', 0, 1_000_000, 512, 'numbers in a set that is packed tightly'),
  integer('set-max-listpack-entries', 0, 1_000_000, 128, 'members of a set that is packed tightly'),
  bytes('set-max-listpack-value', 1, 64 * MIB, 64, 'longest value of one'),
  integer('zset-max-listpack-entries', 0, 1_000_000, 128, 'members of a sorted set that is packed tightly'),
  bytes('zset-max-listpack-value', 1, 64 * MIB, 64, 'longest value of one'),
  bytes('stream-node-max-bytes', 0, 64 * MIB, 4096, 'size of a node of a stream'),
  integer('stream-node-max-entries', 0, 1_000_000, 100, 'entries of a node of a stream'),
  integer('tracking-table-max-keys', 0, 100_000_000, 1_000_000, 'keys remembered for caches in clients'),
  atStart(integer('io-threads', 1, 16, 1, 'threads that read and write')),
];

const REFUSED: readonly [RegExp, string][] = [
  [/^maxmemory$/, 'it follows from the memory of a member, a part of which is kept for forks and buffers: cache scale NAME --memory G'],
  [/^(maxmemory-policy)$/, 'it has a place of its own: cache set NAME maxmemory-policy=POLICY'],
  [
    /^(min-(replicas|slaves)-to-write)$/,
    'the engine is fenced by it; cache set NAME min-replicas=N says how many acknowledgements a write needs',
  ],
  [
    /^(min-(replicas|slaves)-|replica|slave|masterauth|masteruser|primary|repl-|failover-|propagation-)/,
    'replication and failover rest on it; the sidecar sets it by the record',
  ],
  [
    /^(appendonly|append|appendfsync|save|aof|rdb|dbfilename|dir|stop-writes-on-bgsave-error|no-appendfsync|auto-aof|sanitize-dump)/,
    'what is on disk is set by persistence: cache set NAME persistence=none|rdb|aof',
  ],
  [/^cluster-/, 'the cluster of the members rests on it'],
  [
    /^(requirepass|aclfile|acl|user|rename-command|enable-|protected-mode|bind|port|unixsocket|tls-|rdma|loadmodule|mptcp)/,
    'it decides who may do what with the engine: cache user NAME, and --opt tls=on at creation',
  ],
  [
    /^(daemonize|supervised|pidfile|logfile|loglevel|syslog|include|oom-score|server-cpulist|bio-cpulist|bgsave-cpulist|tcp-|socket-|disable-thp|proc-title|set-proc|shutdown-|crash-|ignore-warnings|always-show|locale)/,
    'it belongs to how the member is built',
  ],
  [/^client-output-buffer-limit$/, 'it follows from the memory of a member'],
  [/^(lua-time-limit)$/, 'its name is busy-reply-threshold'],
  [/^lazyfree-lazy-user-flush$/, 'a FLUSHALL that stalls the engine would be taken for its death'],
];

const TABLE = parameterTable({
  ...{ parameters: PARAMETERS, refused: REFUSED, list: 'cache param list NAME', words: { on: 'yes', off: 'no' } },
  canonical: (name) => name.trim().toLowerCase().replaceAll('_', '-'),
});
export const { find: parameter, needRestart } = TABLE;

/**
 * @returns canonical names and values, in the order of their names
 * @throws AppError `invalid` for the first that cannot be
 */
export function validateParameters(
  given: Readonly<Record<string, string>>,
  spec: Pick<CacheSpec, 'mode' | 'memoryBytes' | 'persistence'>,
): Record<string, string> {
  const values = TABLE.readAll(given);
  if (spec.mode === 'cluster' && values.databases !== undefined && values.databases !== '1')
    throw new AppError('invalid', 'a cluster has one database', { hint: 'leave databases away' });
  const longest = values['proto-max-bulk-len'];
  if (longest !== undefined && Number(longest) > dataBytes(spec))
    throw new AppError('invalid', `proto-max-bulk-len is more than the ${dataBytes(spec)} bytes that data may take`, {
      hint: 'give less, or more memory: cache scale NAME --memory G',
    });
  return Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** All parameters with what they are now, for `cache param list`. */
export function describeParameters(spec: Pick<CacheSpec, 'memoryBytes' | 'parameters'>): ParameterRow[] {
  return TABLE.describe(spec.parameters, spec.memoryBytes);
}

export type ParameterSpec = Pick<CacheSpec, 'memoryBytes' | 'parameters' | 'mode'>;

/**
 * What the engine is to have of each, also of those that are as they were: one that is given back its default has it again.
 *
 * @param when `live`: those that a running engine takes; `start`: the others
 */
export function engineSettings(spec: ParameterSpec, when: 'live' | 'start'): [string, string][] {
  return PARAMETERS.filter(({ dynamic }) => dynamic === (when === 'live'))
    .filter(({ name }) => name !== 'databases' || spec.mode !== 'cluster')
    .map((known) => [known.name, spec.parameters[known.name] ?? TABLE.defaultOf(known, spec.memoryBytes)]);
}
