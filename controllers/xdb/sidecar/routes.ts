import { AppError } from '#core/errors.ts';
import type { AdminRoute } from '#member/admin.ts';
import { within } from '#member/within.ts';
import type { Engine } from '#xdb/engine/engine.ts';
import type { MemberStatus } from '#xdb/schema.ts';
import type { MemberDisk } from './disk.ts';
import { ENGINE_STATUS, type MetricsInput, type SidecarMetrics } from './metrics.ts';
import type { Reporter } from './reporter.ts';
import type { Requests } from './requests.ts';

export interface MemberRoutesOptions {
  reporter: Pick<Reporter, 'status' | 'last' | 'sentences'>;
  /** The loop turns. */
  alive(): boolean;
  requests: Requests;
  disk: MemberDisk;
  engine: Pick<Engine, 'connect'>;
  metrics: Pick<SidecarMetrics, 'text'>;
  /** Of what no turn tells. */
  also(): Pick<MetricsInput, 'heartbeatMs' | 'consulReachable' | 'endpointLive' | 'backups'>;
  /** Something was asked for. */
  onRequest(): void;
}

const WELL: ReadonlySet<MemberStatus['state']> = new Set(['running', 'catching_up', 'cloning']);

/** What every member answers: how it is, and that its engine is to be started anew or its copy to be made anew. */
export function memberRoutes(options: MemberRoutesOptions): AdminRoute[] {
  const { alive, requests, disk, engine, metrics, also, onRequest } = options;
  const { status, last: turn, sentences } = options.reporter;
  const seen = () => {
    const now = status();
    if (now === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
    return now;
  };
  const instance = () => turn()?.facts?.instance;

  return [
    { method: 'GET', path: '/status', handle: () => ({ body: seen() }) },
    {
      method: 'GET',
      path: '/health',
      handle() {
        const now = status();
        const ok = now !== undefined && alive() && WELL.has(now.state);
        return { status: ok ? 200 : 503, body: { ok, sentence: now?.sentence ?? 'this member has not looked around yet' } };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      async handle() {
        const engineCounters = await engineStatus(engine);
        const { view, local, facts } = turn() ?? {};
        const sync = view?.protocol.sync?.value;
        return { text: await metrics.text({ status: seen(), sync, local, facts, engine: engineCounters, ...also() }) };
      },
    },
    {
      method: 'GET',
      path: '/logs',
      handle({ query }) {
        const lines = query.get('lines') ?? '100';
        if (!/^\d{1,5}$/.test(lines)) throw new AppError('invalid', 'lines must be a number');
        return { body: { lines: sentences().slice(-Number(lines)) } };
      },
    },
    {
      method: 'GET',
      path: '/decision',
      handle() {
        const now = turn();
        if (now === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
        return { body: { records: now.view?.protocol ?? null, local: now.local, step: now.step, disk: disk.now() } };
      },
    },
    {
      method: 'POST',
      path: '/restart-engine',
      handle() {
        requests.restart(instance());
        onRequest();
        return { status: 202, body: { status: seen() } };
      },
    },
    {
      method: 'POST',
      path: '/reinit',
      handle() {
        const now = turn();
        const sync = now?.view?.protocol.sync?.value;
        if (sync === undefined) throw new AppError('unavailable', 'the record is not known here yet');
        if (sync.leader.id === now?.local.me) {
          throw new AppError('conflict', 'this member leads: its copy is the one that others are made from', {
            hint: 'db switchover first',
          });
        }
        requests.reinit(disk.now().gen);
        onRequest();
        return { status: 202, body: { status: seen() } };
      },
    },
  ];
}

/** On a connection of its own: a scrape that hangs must not hold up a decision. */
async function engineStatus(engine: Pick<Engine, 'connect'>): Promise<Record<string, string>> {
  try {
    const session = await within(engine.connect({ timeoutMs: 1000 }), 1500, 'a connection for metrics', (late) => late.close());
    try {
      const names = ENGINE_STATUS.map((name) => `'${name}'`).join(', ');
      const rows = await within(
        session.query<{ Variable_name: string; Value: string }>(`SHOW GLOBAL STATUS WHERE Variable_name IN (${names})`),
        2000,
        'the status of the engine',
      );
      return Object.fromEntries(rows.map(({ Variable_name, Value }) => [Variable_name, Value]));
    } finally {
      session.close();
    }
  } catch {
    return {};
  }
}
