import WebSocket from 'ws';
import { reasonOf } from './report.ts';

export interface WsLoad {
  kind: 'ws';
  url: string;
  /** So many sockets, opened `perSecond` a second. */
  count: number;
  perSecond: number;
  headers: Record<string, string>;
  /** Each socket sends a text this often and expects it back. */
  heartbeatMs: number;
  /** A socket whose last echo is older is dead though nobody closed it. */
  timeoutMs: number;
  insecure?: boolean;
}

export interface SocketDeath {
  socket: number;
  /** RFC 3339. */
  time: string;
  /** ms since the driver's start. */
  atMs: number;
  /** How long it had been open, ms. */
  openMs: number;
  /** `closed` (with a code), `reset`, `silent` (no echo in time), … */
  reason: string;
  /** WebSocket close code, 1006 when there was none. */
  code?: number;
  server?: string;
}

export interface WsReport {
  opened: number;
  alive: number;
  /** Never became open. */
  failedToOpen: number;
  openFailures: { socket: number; time: string; reason: string; message: string }[];
  died: SocketDeath[];
  /** Heartbeats that came back. */
  echoes: number;
  /** Echoes whose text was not what was sent. */
  wrong: number;
  /** Open sockets by the `container` the target named at opening. */
  byServer: Record<string, number>;
  latencyMaxMs: number;
  seconds: number;
}

/** Opens sockets and keeps them talking until stopped; a socket that died is not opened again. */
export function startWsLoad(load: WsLoad) {
  const started = performance.now();
  const report: WsReport = {
    opened: 0,
    alive: 0,
    failedToOpen: 0,
    openFailures: [],
    died: [],
    echoes: 0,
    wrong: 0,
    byServer: {},
    latencyMaxMs: 0,
    seconds: 0,
  };
  const endings: (() => void)[] = [];
  const open = (socket: number) => {
    const ws = new WebSocket(load.url, {
      headers: load.headers,
      handshakeTimeout: load.timeoutMs,
      perMessageDeflate: false,
      ...(load.insecure ? { rejectUnauthorized: false } : {}),
    });
    let openedAt: number | undefined;
    let lastEcho = 0;
    let ended = false;
    let server: string | undefined;
    let trouble: Error | undefined;
    let beat: NodeJS.Timeout | undefined;
    const sentAt = new Map<string, number>();
    const over = (reason: string, code?: number) => {
      if (ended) return;
      ended = true;
      clearInterval(beat);
      const now = performance.now();
      const time = new Date().toISOString();
      if (openedAt === undefined) {
        report.failedToOpen++;
        report.openFailures.push({ socket, time, reason, message: trouble?.message ?? '' });
      } else {
        report.alive--;
        report.died.push({
          socket,
          time,
          atMs: Math.round(now - started),
          openMs: Math.round(now - openedAt),
          reason,
          ...(code === undefined ? {} : { code }),
          ...(server ? { server } : {}),
        });
      }
      ws.terminate();
    };
    ws.on('upgrade', (response) => {
      const name = response.headers['x-web-name'];
      if (typeof name === 'string') server = name;
    });
    ws.on('open', () => {
      openedAt = performance.now();
      lastEcho = openedAt;
      report.opened++;
      report.alive++;
      if (server) report.byServer[server] = (report.byServer[server] ?? 0) + 1;
      let number = 0;
      beat = setInterval(() => {
        const now = performance.now();
        if (now - lastEcho > load.timeoutMs) return over('silent');
        const text = `${socket}:${number++}`;
        sentAt.set(text, now);
        ws.send(text);
      }, load.heartbeatMs);
    });
    ws.on('message', (data) => {
      const text = data.toString();
      const sent = sentAt.get(text);
      if (sent === undefined) {
        report.wrong++;
        return;
      }
      sentAt.delete(text);
      lastEcho = performance.now();
      report.echoes++;
      report.latencyMaxMs = Math.max(report.latencyMaxMs, Math.round(lastEcho - sent));
    });
    ws.on('error', (error) => {
      trouble = error;
    });
    ws.on('close', (code) => over(trouble ? reasonOf(trouble) : 'closed', code));
    endings.push(() => {
      if (ended) return;
      ended = true;
      clearInterval(beat);
      ws.terminate();
    });
  };
  let next = 0;
  const opener = setInterval(() => {
    const due = Math.min(load.count, Math.ceil(((performance.now() - started) / 1000) * load.perSecond));
    while (next < due) open(next++);
    if (next >= load.count) clearInterval(opener);
  }, 10);
  const snapshot = (): WsReport => ({ ...report, seconds: Math.round(performance.now() - started) / 1000 });
  return {
    report: snapshot,
    async stop() {
      clearInterval(opener);
      const final = snapshot();
      for (const end of endings) end();
      return final;
    },
  };
}
