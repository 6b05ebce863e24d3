import { run } from '#core/spawn.ts';
import { docker } from '../appliance/xlb-sidecar-lab.ts';

const IMAGE = 'xcaas-test/wrk:dev';
const DOCKERFILE = `FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends wrk && rm -rf /var/lib/apt/lists/*
RUN printf '%s\\n' 'done = function(summary, latency)' \\
  '  local e = summary.errors' \\
  '  print(string.format("RESULT %d %d %d %d %d %d %d %d", summary.requests, summary.duration,' \\
  '    e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(99)))' \\
  'end' >/report.lua
`;

/** A connection for each request would soon use up the ports of one address: those of ended ones are taken again. */
const PORTS = ['--sysctl', 'net.ipv4.tcp_tw_reuse=1', '--sysctl', 'net.ipv4.ip_local_port_range=1024 65535'];

export interface WrkResult {
  requests: number;
  seconds: number;
  perSecond: number;
  /** Sockets that could not connect, read or write, answers that were late or not 2xx or 3xx. */
  errors: { connect: number; read: number; write: number; status: number; timeout: number };
  failed: number;
  p99Ms: number;
}

export interface WrkOptions {
  url: string;
  seconds: number;
  connections: number;
  headers?: Record<string, string>;
}

/** wrk of Debian in a container that stands by: a round does not begin with the start of a container. */
export interface Wrk {
  run(options: WrkOptions): Promise<WrkResult>;
  stop(): Promise<void>;
}

export async function startWrk(): Promise<Wrk> {
  if ((await run('docker', ['image', 'inspect', IMAGE])).code !== 0) {
    const { code, stderr } = await run('docker', ['build', '--network', 'host', '-t', IMAGE, '-'], {
      input: DOCKERFILE,
      timeoutMs: 280_000,
    });
    if (code !== 0) throw new Error(`the image with wrk could not be built: ${stderr}`);
  }
  const container = await docker('run', '--detach', '--rm', '--init', ...PORTS, '--label', 'xcaas.test=bench', IMAGE, 'sleep', 'infinity');
  return {
    async run({ url, seconds, connections, headers = {} }) {
      const more = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
      const args = ['wrk', '-t', '1', '-c', String(connections), '-d', `${seconds}s`, '-s', '/report.lua', ...more, url];
      return readResult(await docker('exec', container, ...args));
    },
    stop: async () => void (await run('docker', ['rm', '--force', container])),
  };
}

function readResult(text: string): WrkResult {
  const line = /^RESULT ([\d ]+)$/m.exec(text)?.[1];
  if (line === undefined) throw new Error(`wrk said no result:\n${text}`);
  const [requests = 0, micros = 0, connect = 0, read = 0, write = 0, status = 0, timeout = 0, p99 = 0] = line.split(' ').map(Number);
  const errors = { connect, read, write, status, timeout };
  const failed = connect + read + write + status + timeout;
  return { requests, seconds: micros / 1e6, perSecond: requests / (micros / 1e6), errors, failed, p99Ms: p99 / 1000 };
}
