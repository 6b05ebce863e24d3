import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { AppError } from '#core/errors.ts';
import { proxyName } from '#tcp/names.ts';
import type { TcpBackend, TcpConfig, TcpListener, TcpTable } from '#tcp/schema.ts';
import { serverWords } from '#tcp/server-line.ts';
import { engineWeights } from '#tcp/weights.ts';

export interface RenderOptions {
  /** Path of the runtime socket. */
  runtimeSocket: string;
  /** Tables of backends; one of a backend that is not in the configuration is left out. */
  tables?: readonly TcpTable[];
}

/** What HAProxy shows as `description` in `show info`: how the driver knows which structure a worker runs with. */
const GENERATION_PREFIX = 'xcaas-';

/** Every word that is written matches this: what could end a word, a line or a string, or expand a variable, cannot pass. */
const WORD = /^[A-Za-z0-9._:/*[\]~-]+$/;
const LOG_FORMAT =
  '{"time":"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]","client":"%ci","port":%fp,"backend":"%b","peer":"%s","address":"%si:%sp","connectMs":%Tc,"totalMs":%Tt,"out":%B,"in":%U,"end":"%ts","retries":%rc}';

/**
 * The whole `haproxy.cfg`: the structure, and the peers of each table as `server` lines, so that HAProxy started by itself serves the last known
 * table. Endpoint changes rewrite this file and reach the running worker over its socket; nothing is reloaded for them.
 *
 * A peer that is draining or down begins `disabled`: a fresh worker has no connections to go on with, and the driver sets `drain` at once.
 *
 * @param config parsed by the schema
 * @throws AppError `internal` if a word outside the whitelist would be written
 */
export function renderConfig(config: TcpConfig, options: RenderOptions): string {
  return text([globalSection(config, options.runtimeSocket, generationOf(config, options)), ...sections(config, options.tables ?? [])]);
}

/** Names a structure: the same for the same configuration whatever the tables hold. 16 hex digits. */
export function generationOf(config: TcpConfig, { runtimeSocket }: RenderOptions): string {
  const structure = text([globalSection(config, runtimeSocket, 'none'), ...sections(config, [])]);
  return createHash('sha256').update(structure).digest('hex').slice(0, 16);
}

/** The generation in a worker's `description`, or undefined when it was not started with a file of ours. */
export function generationIn(description: string | undefined): string | undefined {
  return description?.startsWith(GENERATION_PREFIX) ? description.slice(GENERATION_PREFIX.length) : undefined;
}

interface Section {
  head: string[];
  lines: (string[] | Raw)[];
}
/** A line of constants only. */
interface Raw {
  raw: string;
}

function globalSection(config: TcpConfig, runtimeSocket: string, generation: string): Section {
  const lines: Section['lines'] = [
    ['description', `${GENERATION_PREFIX}${generation}`],
    // Each endpoint change would write a line to stderr otherwise.
    ['quiet'],
    ['stats', 'socket', runtimeSocket, 'mode', '600', 'level', 'admin'],
    ['stats', 'timeout', '30s'],
    // Engines give containers up to a thousand million descriptors, and HAProxy sizes its tables by that limit.
    config.maxConnections === undefined ? ['fd-hard-limit', '262144'] : ['maxconn', String(config.maxConnections)],
  ];
  if (config.hardStopAfterMs !== undefined) lines.push(['hard-stop-after', `${config.hardStopAfterMs}ms`]);
  if (config.threads !== undefined) lines.push(['nbthread', String(config.threads)]);
  if (config.accessLog) lines.push(['log', 'stdout', 'format', 'raw', 'daemon']);
  return { head: ['global'], lines };
}

function sections(config: TcpConfig, tables: readonly TcpTable[]): Section[] {
  const byBackend = new Map(tables.map((table) => [table.backend, table]));
  return [
    defaultsSection(config),
    ...config.backends.map((backend) => backendSection(backend, byBackend.get(backend.name))),
    ...config.listeners.map((listener) => frontendSection(listener)),
  ];
}

function defaultsSection(config: TcpConfig): Section {
  const idle = `${config.idleTimeoutMs}ms`;
  const lines: Section['lines'] = [
    ['mode', 'tcp'],
    ['timeout', 'client', idle],
    ['timeout', 'server', idle],
    ['timeout', 'connect', '1000ms'],
    ...halfClosed(config),
    // A client or peer that vanished without a word is found by the kernel in about a minute and a half, not after the idle timeout.
    ['option', 'tcpka'],
    ['clitcpka-idle', '60s'],
    ['clitcpka-intvl', '10s'],
    ['clitcpka-cnt', '3'],
    ['srvtcpka-idle', '60s'],
    ['srvtcpka-intvl', '10s'],
    ['srvtcpka-cnt', '3'],
    ['retries', '2'],
    // Each further try goes to another peer.
    ['option', 'redispatch', '1'],
  ];
  if (config.accessLog) lines.push(['log', 'global'], { raw: `log-format '${LOG_FORMAT}'` });
  return { head: ['defaults'], lines };
}

function halfClosed({ halfClosedMs }: TcpConfig): string[][] {
  if (halfClosedMs === undefined) return [];
  return ['client-fin', 'server-fin'].map((side) => ['timeout', side, `${halfClosedMs}ms`]);
}

function backendSection(backend: TcpBackend, table: TcpTable | undefined): Section {
  const connect = `${backend.connectTimeoutMs}ms`;
  const lines: Section['lines'] = [...balance(backend), ['timeout', 'connect', connect], ['timeout', 'queue', connect]];
  if (backend.check !== 'none') {
    lines.push(['timeout', 'check', `${backend.check.timeoutMs}ms`]);
    if (backend.check.type === 'http') {
      lines.push(
        ['option', 'httpchk'],
        ['http-check', 'send', 'meth', 'GET', 'uri', backend.check.path, 'ver', 'HTTP/1.1', 'hdr', 'Host', 'xcaas'],
      );
    }
  }
  const peers = table?.peers ?? [];
  const weights = engineWeights(
    backend.algorithm,
    peers.map((peer) => peer.weight),
  );
  peers.forEach((peer, index) => {
    const words = ['server', ...serverWords(backend, peer, weights[index] ?? 1)];
    lines.push(peer.state === 'up' ? words : [...words, 'disabled']);
  });
  return { head: ['backend', proxyName(backend.name)], lines };
}

/** `add server` works with dynamic algorithms only (management manual §9.3), so the hash is the consistent one. */
function balance(backend: TcpBackend): string[][] {
  if (backend.algorithm === 'round_robin') return [['balance', 'roundrobin']];
  if (backend.algorithm === 'least_conn') return [['balance', 'leastconn']];
  return [
    ['balance', 'source'],
    ['hash-type', 'consistent', 'wt6', 'avalanche'],
  ];
}

function frontendSection(listener: TcpListener): Section {
  const address = listener.address ?? '*';
  const bind = isIPv6(address) ? `[${address}]:${listener.port}` : `${address}:${listener.port}`;
  return {
    head: ['frontend', `fe.${listener.port}.${listener.address === undefined ? 'any' : listener.address}`],
    lines: [
      ['bind', bind],
      ['default_backend', proxyName(listener.backend)],
    ],
  };
}

function text(all: Section[]): string {
  return all
    .map(({ head, lines }) => [line(head), ...lines.map((words) => `    ${'raw' in words ? words.raw : line(words)}`), ''].join('\n'))
    .join('\n');
}

function line(words: string[]): string {
  for (const word of words) {
    if (!WORD.test(word)) throw new AppError('internal', `the word ${JSON.stringify(word)} may not stand in haproxy.cfg`);
  }
  return words.join(' ');
}
