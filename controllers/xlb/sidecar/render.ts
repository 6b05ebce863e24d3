import { createHash } from 'node:crypto';
import { AppError } from '#core/errors.ts';
import type { LbSpec, Listener, Rule } from '#xlb/schema.ts';
import { block, type Directive, fixed, line, number, print, type Safe, word } from './nginx-file.ts';
import { httpServers, type ServerPlan } from './routing.ts';

/** What the machine gives to nginx. */
export interface NginxLimits {
  workers: number;
  /** Connections of one worker; a request needs two. */
  connections: number;
}

export interface Rendered {
  /** Hash of everything that only a reload can change. */
  generation: string;
  text: string;
}

const LUA = '/usr/share/xlb/lua';

/**
 * Pure: the whole nginx.conf of a load balancer, as `images/xlb/sample.conf` shows it. Target groups' peers, their algorithms and checks are no part
 * of it: they are pushed to the running nginx.
 *
 * @throws AppError `config_rejected` naming what cannot be rendered; nothing has been changed then
 */
export function renderNginx(spec: LbSpec, limits: NginxLimits): Rendered {
  const text = (generation: Safe) => print(nginxConf(spec, limits, generation));
  const generation = createHash('sha256')
    .update(text(fixed('generation')))
    .digest('hex')
    .slice(0, 16);
  return { generation, text: text(fixed(generation)) };
}

function nginxConf(spec: LbSpec, limits: NginxLimits, generation: Safe): Directive[] {
  return [
    line('load_module', fixed('modules/ndk_http_module.so')),
    line('load_module', fixed('modules/ngx_http_lua_module.so')),
    line('worker_processes', number(limits.workers, 'the number of workers')),
    line('pid', fixed('/run/xlb/nginx.pid')),
    line('error_log', fixed('stderr'), fixed('notice')),
    line('pcre_jit', fixed('on')),
    line('worker_shutdown_timeout', fixed('3600s')),
    block('events', [], line('worker_connections', number(limits.connections, 'the number of connections'))),
    block(
      'http',
      [],
      lua(),
      proxying(spec),
      general(spec),
      tls(),
      logging(),
      controlServer(generation),
      unavailableServer(),
      httpServers(spec).map(server),
    ),
  ];
}

function lua(): Directive[] {
  const dict = (name: string, size: string) => line('lua_shared_dict', fixed(name), fixed(size));
  return [
    line('lua_package_path', fixed(`"${LUA}/?.lua;;"`)),
    dict('xlb_tables', '64m'),
    dict('xlb_state', '8m'),
    dict('xlb_counters', '16m'),
    dict('xlb_workers', '1m'),
    dict('xlb_scratch', '32m'),
    line('lua_max_running_timers', fixed('4096')),
    line('lua_max_pending_timers', fixed('4096')),
    line('lua_socket_log_errors', fixed('off')),
    line('init_by_lua_file', fixed(`${LUA}/init.lua`)),
    line('init_worker_by_lua_file', fixed(`${LUA}/init_worker.lua`)),
    line('exit_worker_by_lua_file', fixed(`${LUA}/exit_worker.lua`)),
    line('log_by_lua_file', fixed(`${LUA}/log.lua`)),
    ...['$xlb_cookie', '$xlb_peer', '$xlb_group'].map((variable) => map('""', variable, ['default', '""'])),
    block(
      'upstream',
      [fixed('xlb_peers')],
      line('server', fixed('0.0.0.1:1')),
      line('balancer_by_lua_file', fixed(`${LUA}/balancer.lua`)),
      line('balancer_keepalive', fixed('1024')),
    ),
  ];
}

function proxying({ options }: LbSpec): Directive[] {
  const header = (name: string, value: string) => line('proxy_set_header', fixed(name), fixed(value));
  return [
    map('$http_upgrade', '$xlb_connection', ['default', 'upgrade'], ['""', '""']),
    map('$http_x_request_id', '$xlb_request_id', ['default', '$request_id'], ['"~^[A-Za-z0-9._:/+=@-]+$"', '$http_x_request_id']),
    map('$http_host', '$xlb_host', ['default', '$http_host'], ['""', '$host']),
    line('proxy_http_version', fixed('1.1')),
    header('Host', '$xlb_host'),
    header('Upgrade', '$http_upgrade'),
    header('Connection', '$xlb_connection'),
    header('X-Real-IP', '$remote_addr'),
    header('X-Forwarded-For', '$proxy_add_x_forwarded_for'),
    header('X-Forwarded-Proto', '$scheme'),
    header('X-Forwarded-Host', '$xlb_host'),
    header('X-Forwarded-Port', '$server_port'),
    header('X-Request-Id', '$xlb_request_id'),
    line('add_header', fixed('Set-Cookie'), fixed('$xlb_cookie'), fixed('always')),
    line('proxy_connect_timeout', number(options.connectTimeoutMs, 'connectTimeoutMs', 'ms')),
    line('proxy_read_timeout', number(options.readTimeoutMs, 'readTimeoutMs', 'ms')),
    line('proxy_send_timeout', number(options.sendTimeoutMs, 'sendTimeoutMs', 'ms')),
    // Finds a host that went without a word while its answer is awaited; how soon is a setting of the container's kernel.
    line('proxy_socket_keepalive', fixed('on')),
    line('proxy_next_upstream', fixed('error'), fixed('timeout'), fixed('invalid_header')),
    line('proxy_next_upstream_timeout', fixed('0')),
    line('proxy_next_upstream_tries', fixed('0')),
    line('proxy_redirect', fixed('off')),
    line('proxy_ignore_headers', ...['Redirect', 'Expires', 'Charset', 'Limit-Rate'].map((name) => fixed(`X-Accel-${name}`))),
    line('proxy_buffer_size', fixed('16k')),
    line('proxy_buffers', fixed('8'), fixed('16k')),
    line('client_max_body_size', number(options.maxBodyBytes, 'maxBodyBytes')),
  ];
}

function general(spec: LbSpec): Directive[] {
  const hosts = new Set(spec.rules.flatMap((rule) => (rule.host === undefined ? [] : [rule.host]))).size;
  return [
    line('default_type', fixed('application/octet-stream')),
    line('server_tokens', fixed('off')),
    line('server_names_hash_bucket_size', fixed('512')),
    line('server_names_hash_max_size', number(Math.max(16_384, 4 * hosts), 'the size of the table of names')),
    line('variables_hash_max_size', fixed('2048')),
    line('sendfile', fixed('on')),
    line('tcp_nodelay', fixed('on')),
    line('keepalive_timeout', fixed('75s')),
    line('keepalive_requests', fixed('100000')),
    line('client_body_temp_path', fixed('/run/xlb/tmp/body')),
    ...['proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => line(`${kind}_temp_path`, fixed(`/run/xlb/tmp/${kind}`))),
  ];
}

function tls(): Directive[] {
  return [
    line('ssl_certificate', fixed('/run/xlb/fallback.crt')),
    line('ssl_certificate_key', fixed('/run/xlb/fallback.key')),
    line('ssl_certificate_by_lua_file', fixed(`${LUA}/certificate.lua`)),
    line('ssl_protocols', fixed('TLSv1.2'), fixed('TLSv1.3')),
    line('ssl_session_cache', fixed('shared:xlb_tls:10m')),
    line('ssl_session_tickets', fixed('off')),
  ];
}

/** Fields of the access log: name, nginx's variable, and whether it is always a number. */
const LOG_FIELDS: readonly [string, string, 'number' | 'text'][] = [
  ['time', 'time_iso8601', 'text'],
  ['method', 'request_method', 'text'],
  ['host', 'host', 'text'],
  ['uri', 'request_uri', 'text'],
  ['proto', 'server_protocol', 'text'],
  ['status', 'status', 'number'],
  ['bytes', 'body_bytes_sent', 'number'],
  ['request_time', 'request_time', 'number'],
  ['client', 'remote_addr', 'text'],
  ['upstream', 'upstream_addr', 'text'],
  ['upstream_status', 'upstream_status', 'text'],
  ['upstream_time', 'upstream_response_time', 'text'],
  ['group', 'xlb_group', 'text'],
  ['peer', 'xlb_peer', 'text'],
  ['request_id', 'xlb_request_id', 'text'],
  ['user_agent', 'http_user_agent', 'text'],
];

function logging(): Directive[] {
  const fields = LOG_FIELDS.map(([name, variable, kind]) => (kind === 'number' ? `"${name}":$${variable}` : `"${name}":"$${variable}"`));
  return [
    line('log_format', fixed('xlb'), fixed('escape=json'), fixed(`'{${fields.join(',')}}'`)),
    line('access_log', fixed('/dev/stdout'), fixed('xlb')),
  ];
}

function controlServer(generation: Safe): Directive {
  return block(
    'server',
    [],
    line('listen', fixed('unix:/run/xlb/nginx.sock')),
    line('access_log', fixed('off')),
    line('keepalive_timeout', fixed('0')),
    line('client_max_body_size', fixed('64m')),
    line('client_body_buffer_size', fixed('4m')),
    block(
      'location',
      [fixed('/')],
      line('set', fixed('$xlb_generation'), generation),
      line('content_by_lua_file', fixed(`${LUA}/control.lua`)),
    ),
  );
}

/** Where the balancer sends requests of a group that has no peer to try. */
function unavailableServer(): Directive {
  return block(
    'server',
    [],
    line('listen', fixed('unix:/run/xlb/503.sock')),
    line('access_log', fixed('off')),
    line('root', fixed('/usr/share/xlb/html')),
    line('error_page', fixed('503'), fixed('/503.html')),
    block('location', [fixed('/')], line('return', fixed('503'))),
    block(
      'location',
      [fixed('='), fixed('/503.html')],
      line('internal'),
      line('default_type', fixed('"text/html; charset=utf-8"')),
      line('add_header', fixed('Retry-After'), fixed('1'), fixed('always')),
      line('add_header', fixed('Cache-Control'), fixed('no-store'), fixed('always')),
    ),
  );
}

function server({ listener, host, routes }: ServerPlan): Directive {
  const everything = routes.some((route) => route.path === '/');
  return block(
    'server',
    [],
    line('listen', ...listen(listener, host === undefined)),
    ...(listener.proto === 'https' ? [line('http2', fixed('on'))] : []),
    line('server_name', host === undefined ? fixed('_') : word('host', host)),
    routes.map(location),
    everything ? [] : [block('location', [fixed('/')], line('return', fixed('404')))],
  );
}

function location({ path, group }: Pick<Rule, 'path' | 'group'>): Directive {
  return block(
    'location',
    [word('path', path)],
    line('set', fixed('$xlb_group'), word('name', group)),
    line('proxy_pass', fixed('http://xlb_peers')),
  );
}

function listen(listener: Listener, isDefault: boolean): Safe[] {
  const port = number(listener.port, 'the port of a listener');
  if (listener.port < 1 || listener.port > 65535) throw new AppError('config_rejected', `${listener.port} is not a port`);
  return [port, ...(listener.proto === 'https' ? [fixed('ssl')] : []), ...(isDefault ? [fixed('default_server')] : [])];
}

function map(source: string, variable: string, ...entries: readonly (readonly [string, string])[]): Directive {
  return block('map', [fixed(source), fixed(variable)], ...entries.map(([key, value]) => line(key, fixed(value))));
}
