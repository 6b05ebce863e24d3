/** What INFO and two settings say of an engine, in our words. */
export interface EngineFacts {
  /** The engine's own id of this run of its process. */
  run: string;
  version: string;
  role: 'master' | 'replica';
  /** Of the master that it follows. */
  masterAddress: string | undefined;
  /** The link to its master is up, and something was heard within two seconds. */
  linkUp: boolean;
  offset: number;
  empty: boolean;
  loading: boolean;
  failingOver: boolean;
  usedBytes: number;
  maxBytes: number;
  clients: number;
  /** Good replicas that a write needs. */
  minReplicas: number;
  /** Replicas whose links are up, by the address that they announce. `ackMs`: so long ago at most they acknowledged. */
  replicas: { address: string; ackMs: number; offset: number }[];
  counters: Readonly<Record<string, number>>;
}

/** An engine that wants so many good replicas for a write takes none: no cache has them. The one setting that refuses writes whatever role it has, also at its very start. */
export const FENCED = 1_000_000;

/** Seconds; the link's pings come every second. */
const HEARD_SECONDS = 2;

const COUNTERS = [
  'total_commands_processed',
  'total_connections_received',
  'rejected_connections',
  'keyspace_hits',
  'keyspace_misses',
  'evicted_keys',
  'expired_keys',
  'instantaneous_ops_per_sec',
  'mem_fragmentation_ratio',
  'used_memory_rss',
  'used_memory_peak',
  'latest_fork_usec',
  'blocked_clients',
  'evicted_clients',
  'total_net_input_bytes',
  'total_net_output_bytes',
  'total_error_replies',
  'rdb_changes_since_last_save',
  'rdb_last_save_time',
  'rdb_last_cow_size',
  'aof_enabled',
  'aof_current_size',
  'sync_full',
  'sync_partial_ok',
  'sync_partial_err',
] as const;
/** `ok`, or what was not: 1 and 0. */
const ENDS = ['rdb_last_bgsave_status', 'aof_last_write_status', 'aof_last_bgrewrite_status'] as const;

/** Pure. @param text of INFO */
export function infoFields(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/** Pure. @param text of INFO, several sections @param minReplicas of CONFIG GET */
export function parseInfo(text: string, minReplicas: number): EngineFacts {
  const fields = infoFields(text);
  const number = (name: string) => Number(fields.get(name) ?? 0);
  const isReplica = fields.get('role') === 'slave';
  return {
    run: fields.get('run_id') ?? '',
    version: fields.get('valkey_version') ?? fields.get('redis_version') ?? '',
    role: isReplica ? 'replica' : 'master',
    masterAddress: isReplica ? fields.get('master_host') : undefined,
    linkUp: isReplica && fields.get('master_link_status') === 'up' && number('master_last_io_seconds_ago') < HEARD_SECONDS,
    offset: isReplica ? number('slave_repl_offset') : number('master_repl_offset'),
    empty: ![...fields.keys()].some((name) => /^db\d+$/.test(name)),
    loading: number('loading') === 1,
    failingOver: (fields.get('master_failover_state') ?? 'no-failover') !== 'no-failover',
    usedBytes: number('used_memory'),
    maxBytes: number('maxmemory'),
    clients: number('connected_clients'),
    minReplicas,
    replicas: replicasOf(fields),
    counters: Object.fromEntries([
      ...COUNTERS.map((name) => [name, number(name)] as const),
      ...ENDS.map((name) => [name, fields.get(name) === 'err' ? 0 : 1] as const),
    ]),
  };
}

/** `slave0:ip=10.0.0.2,port=6378,state=online,offset=64,lag=0,type=replica`. The lag is in whole seconds that have passed. */
function replicasOf(fields: ReadonlyMap<string, string>): EngineFacts['replicas'] {
  const all: EngineFacts['replicas'] = [];
  for (const [name, value] of fields) {
    if (!/^slave\d+$/.test(name)) continue;
    const parts = new Map(value.split(',').map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]));
    const address = parts.get('ip') ?? '';
    if (parts.get('state') !== 'online' || address === '') continue;
    all.push({ address, ackMs: (Number(parts.get('lag') ?? 0) + 1) * 1000, offset: Number(parts.get('offset') ?? 0) });
  }
  return all;
}
