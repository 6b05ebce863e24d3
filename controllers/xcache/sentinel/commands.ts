import { bulk, encode, OK, type Reply, strings } from './resp.ts';

/** What the sidecars of a cache answer as its Sentinels: the record says it all, nobody has to vote. */
export interface SentinelView {
  /** Name that clients ask for: the cache's. */
  name: string;
  epoch: number;
  /** Undefined while a change is under way. */
  master: Instance | undefined;
  replicas: readonly (Instance & { linkUp: boolean; offset: number })[];
  /** Members, each of which is a Sentinel too. */
  sentinels: readonly Instance[];
  /** Replicas that must acknowledge. */
  quorum: number;
}

export interface Instance {
  id: string;
  address: string;
  port: number;
  run: string;
}

/** One client. */
export interface SentinelClient {
  protocol: 2 | 3;
  name: string;
  channels: Set<string>;
  patterns: Set<string>;
}

export interface SentinelDeps {
  view(): SentinelView;
  /** Own id, forty hexadecimal digits. */
  myId: string;
  version: string;
  /** Whether a user's password is right. */
  authenticate(user: string, password: string): boolean;
  clientId(client: SentinelClient): number;
}

const UNKNOWN: Reply = { error: 'ERR No such master with that name' };

/** Answers to one request, in their order. */
export function answer(deps: SentinelDeps, client: SentinelClient, words: readonly string[]): Reply[] {
  const [command = '', ...args] = words;
  switch (command.toLowerCase()) {
    case 'ping':
      return [args[0] === undefined ? { simple: 'PONG' } : bulk(args[0])];
    case 'sentinel':
      return [sentinel(deps, args)];
    case 'subscribe':
    case 'psubscribe':
      return subscribe(client, command.toLowerCase() as 'subscribe' | 'psubscribe', args);
    case 'unsubscribe':
    case 'punsubscribe':
      return unsubscribe(client, command.toLowerCase() as 'unsubscribe' | 'punsubscribe', args);
    case 'hello':
      return [hello(deps, client, args)];
    case 'auth':
      return [auth(deps, args)];
    case 'info':
      return [bulk(info(deps))];
    case 'role': {
      const { name } = deps.view();
      return [{ array: [bulk('sentinel'), strings(name)] }];
    }
    case 'client':
      return [clientCommand(deps, client, args)];
    case 'select':
    case 'readonly':
      return [OK];
    case 'command':
      return [{ array: [] }];
    case 'quit':
      return [OK];
    default:
      return [{ error: `ERR unknown command '${command.slice(0, 60)}'` }];
  }
}

function sentinel(deps: SentinelDeps, [word = '', name]: readonly string[]): Reply {
  const view = deps.view();
  const isKnown = name === view.name;
  switch (word.toLowerCase()) {
    case 'get-master-addr-by-name':
    case 'get-primary-addr-by-name':
      return !isKnown || view.master === undefined ? bulk(null) : strings(view.master.address, String(view.master.port));
    case 'masters':
    case 'primaries':
      return { array: [masterFields(view)] };
    case 'master':
    case 'primary':
      return isKnown ? masterFields(view) : UNKNOWN;
    case 'replicas':
    case 'slaves':
      return isKnown ? { array: view.replicas.map((one) => replicaFields(view, one)) } : UNKNOWN;
    case 'sentinels':
      return isKnown ? { array: view.sentinels.filter(({ run }) => run !== deps.myId).map(sentinelFields) } : UNKNOWN;
    case 'myid':
      return bulk(deps.myId);
    case 'ckquorum':
      if (!isKnown) return UNKNOWN;
      return view.master === undefined
        ? { error: 'NOQUORUM a change of the master is under way' }
        : { simple: `OK ${view.sentinels.length} usable Sentinels. Quorum and failover authorization can be reached` };
    case 'failover':
    case 'set':
    case 'monitor':
    case 'remove':
    case 'reset':
      return { error: 'ERR this cache is managed: use `cache switchover`, `cache failover` and the like' };
    default:
      return { error: `ERR Unknown sentinel subcommand '${word.slice(0, 60)}'` };
  }
}

const fields = (all: Record<string, string>): Reply => ({ map: Object.entries(all).map(([key, value]) => [key, bulk(value)]) });

function masterFields(view: SentinelView): Reply {
  const { master } = view;
  return fields({
    ...{ name: view.name, ip: master?.address ?? '', port: String(master?.port ?? 0), runid: master?.run ?? '' },
    flags: master === undefined ? 'master,o_down,failover_in_progress' : 'master',
    ...{ 'link-pending-commands': '0', 'link-refcount': '1', 'last-ping-sent': '0', 'last-ok-ping-reply': '0', 'last-ping-reply': '0' },
    ...{ 'down-after-milliseconds': '1500', 'info-refresh': '0', 'role-reported': 'master', 'role-reported-time': '0' },
    ...{ 'config-epoch': String(view.epoch), 'num-slaves': String(view.replicas.length), 'num-replicas': String(view.replicas.length) },
    'num-other-sentinels': String(Math.max(0, view.sentinels.length - 1)),
    ...{ quorum: String(view.quorum), 'failover-timeout': '15000', 'parallel-syncs': '1' },
  });
}

function replicaFields(view: SentinelView, { id, address, port, run, linkUp, offset }: SentinelView['replicas'][number]): Reply {
  return fields({
    ...{ name: `${address}:${port}`, ip: address, port: String(port), runid: run, 'member-id': id },
    // Clients leave out those whose flags say that they are down or disconnected.
    flags: linkUp ? 'slave' : 'slave,disconnected',
    ...{ 'link-pending-commands': '0', 'link-refcount': '1', 'last-ok-ping-reply': '0', 'last-ping-reply': '0', 'role-reported': 'slave' },
    ...{ 'master-link-down-time': '0', 'master-link-status': linkUp ? 'ok' : 'err' },
    ...{ 'master-host': view.master?.address ?? '', 'master-port': String(view.master?.port ?? 0) },
    ...{ 'slave-priority': '100', 'slave-repl-offset': String(offset), 'replica-announced': '1' },
  });
}

function sentinelFields({ address, port, run }: Instance): Reply {
  return fields({
    ...{ name: run, ip: address, port: String(port), runid: run, flags: 'sentinel' },
    ...{
      'link-pending-commands': '0',
      'link-refcount': '1',
      'last-ok-ping-reply': '0',
      'last-ping-reply': '0',
      'voted-leader': '?',
      'voted-leader-epoch': '0',
    },
  });
}

function subscribe(client: SentinelClient, kind: 'subscribe' | 'psubscribe', names: readonly string[]): Reply[] {
  const set = kind === 'subscribe' ? client.channels : client.patterns;
  if (names.length === 0) return [{ error: `ERR wrong number of arguments for '${kind}' command` }];
  return names.map((name) => {
    set.add(name);
    return { push: [bulk(kind), bulk(name), { integer: client.channels.size + client.patterns.size }] };
  });
}

function unsubscribe(client: SentinelClient, kind: 'unsubscribe' | 'punsubscribe', names: readonly string[]): Reply[] {
  const set = kind === 'unsubscribe' ? client.channels : client.patterns;
  const all = names.length > 0 ? names : [...set];
  const count = () => client.channels.size + client.patterns.size;
  if (all.length === 0) return [{ push: [bulk(kind), bulk(null), { integer: count() }] }];
  return all.map((name) => {
    set.delete(name);
    return { push: [bulk(kind), bulk(name), { integer: count() }] };
  });
}

const WRONG_PASSWORD: Reply = { error: 'WRONGPASS invalid username-password pair or user is disabled.' };

/** Nobody has to: what Sentinels say holds no secret, and whoever does say a password is told when it is wrong. */
function auth({ authenticate }: SentinelDeps, args: readonly string[]): Reply {
  const [user, password] = args.length > 1 ? args : ['default', args[0]];
  if (args.length === 0) return { error: "ERR wrong number of arguments for 'auth' command" };
  return authenticate(user ?? '', password ?? '') ? OK : WRONG_PASSWORD;
}

function hello(deps: SentinelDeps, client: SentinelClient, args: readonly string[]): Reply {
  const [asked, ...more] = args;
  if (asked !== undefined && asked !== '2' && asked !== '3') return { error: 'NOPROTO unsupported protocol version' };
  for (let at = 0; at < more.length; ) {
    const word = more[at]?.toLowerCase();
    if (word === 'auth') {
      if (!deps.authenticate(more[at + 1] ?? '', more[at + 2] ?? '')) return WRONG_PASSWORD;
      at += 3;
    } else if (word === 'setname') {
      client.name = more[at + 1] ?? '';
      at += 2;
    } else return { error: 'ERR Syntax error in HELLO' };
  }
  if (asked !== undefined) client.protocol = asked === '3' ? 3 : 2;
  return {
    map: [
      ['server', bulk('redis')],
      ['version', bulk(deps.version)],
      ['proto', { integer: client.protocol }],
      ['id', { integer: deps.clientId(client) }],
      ['mode', bulk('sentinel')],
      ['role', bulk('sentinel')],
      ['modules', { array: [] }],
    ],
  };
}

function clientCommand(deps: SentinelDeps, client: SentinelClient, [word = '', value]: readonly string[]): Reply {
  switch (word.toLowerCase()) {
    case 'setname':
      client.name = value ?? '';
      return OK;
    case 'getname':
      return bulk(client.name === '' ? null : client.name);
    case 'id':
      return { integer: deps.clientId(client) };
    default:
      return OK;
  }
}

function info(deps: SentinelDeps): string {
  const view = deps.view();
  const address = `${view.master?.address ?? ''}:${view.master?.port ?? 0}`;
  const status = view.master === undefined ? 'odown' : 'ok';
  return [
    '# Server',
    `redis_version:${deps.version}`,
    'redis_mode:sentinel',
    `run_id:${deps.myId}`,
    '',
    '# Sentinel',
    'sentinel_masters:1',
    'sentinel_tilt:0',
    `master0:name=${view.name},status=${status},address=${address},slaves=${view.replicas.length},sentinels=${view.sentinels.length}`,
    '',
  ].join('\r\n');
}

/** What a subscriber is sent for a message; none for who did not ask for it. */
export function messages(client: SentinelClient, channel: string, text: string): string {
  const direct = client.channels.has(channel) ? [{ push: [bulk('message'), bulk(channel), bulk(text)] } satisfies Reply] : [];
  const matched = [...client.patterns]
    .filter((pattern) => matches(pattern, channel))
    .map((pattern): Reply => ({ push: [bulk('pmessage'), bulk(pattern), bulk(channel), bulk(text)] }));
  return [...direct, ...matched].map((reply) => encode(reply, client.protocol)).join('');
}

/** Only what clients of Sentinels use: a star is anything, everything else is itself. */
function matches(pattern: string, channel: string): boolean {
  const source = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source.join('.*')}$`, 's').test(channel);
}
