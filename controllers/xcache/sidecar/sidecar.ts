import { parseKv } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { AppError } from '#core/errors.ts';
import { createLoop, type Loop } from '#core/loop.ts';
import { type AdminRoute, serveAdmin } from '#member/admin.ts';
import { cacheKeys } from '#xcache/store.ts';
import { startClusterMember } from './cluster-member.ts';
import { type Common, openCommon, type SidecarDeps } from './common.ts';
import { decisive } from './records.ts';
import { startReplicated } from './replicated.ts';
import { reportRoutes } from './reports.ts';
import { settingsRoutes } from './settings-routes.ts';

export interface Sidecar {
  /** @param keep another process of this member follows at once */
  stop(keep: boolean): Promise<void>;
}

/** Between two turns when nothing was heard of, in milliseconds. What the protocol promises rests on it (protocol/types.ts). */
const LOOK_MS = 400;

export async function startSidecar(deps: SidecarDeps): Promise<Sidecar> {
  const { config, log } = deps;
  const { cache, member, paths } = config;
  const keys = cacheKeys(cache);
  const stopping = new AbortController();
  let loop: Loop | undefined;
  // What is heard before there is a loop is looked at in its first turn.
  const dirty = () => loop?.markDirty();
  const common = await openCommon(deps, dirty);
  const mode = config.mode === 'cluster' ? startClusterMember(common) : await startReplicated(common);

  const turns = createLoop({
    name: member,
    log: log.child({}, { level: 'warn' }),
    intervalMs: LOOK_MS,
    async cycle() {
      await common.refresh();
      return mode.turn();
    },
  });
  let decisiveText: string | undefined;
  void watchConsul({
    consul: common.consul,
    path: `/v1/kv/${keys.base}`,
    query: { recurse: true },
    // Members' own records change all the time, and little is decided by them.
    parse: (answer) => decisive(parseKv(answer, `the records of ${cache}`), cache),
    onChange(text) {
      if (text !== decisiveText) dirty();
      decisiveText = text;
    },
    onError: () => undefined,
    log,
    signal: stopping.signal,
  });
  loop = turns;
  const { settings, credentials } = common;
  const admin = await serveAdmin(paths.admin, [
    ...commonRoutes(common, turns),
    ...settingsRoutes({ settings, credentials, dirty }),
    ...reportRoutes(() => common.connect({ path: paths.engineSocket })),
    ...mode.routes,
  ]);
  turns.start();
  log.info({ cache, member, address: common.address(), epoch: common.memory.epoch() }, 'sidecar started');

  return {
    async stop(keep) {
      stopping.abort();
      admin.close();
      admin.closeAllConnections();
      await Promise.all([turns.stop(), mode.stop()]);
      await common.stop(keep);
    },
  };
}

/** Whatever the mode. */
function commonRoutes(common: Common, loop: Loop): AdminRoute[] {
  return [
    { method: 'GET', path: '/status', handle: () => ({ body: common.status() }) },
    {
      method: 'GET',
      path: '/health',
      handle() {
        const { state, sentence } = common.status();
        const ok = loop.alive() && (state === 'running' || state === 'catching_up');
        return { status: ok ? 200 : 503, body: { ok, sentence } };
      },
    },
    { method: 'GET', path: '/logs', handle: ({ query }) => ({ body: { lines: common.sentences().slice(-linesOf(query.get('lines'))) } }) },
  ];
}

/** @throws AppError `invalid` */
function linesOf(text: string | null): number {
  if (text !== null && !/^[1-9]\d{0,4}$/.test(text)) throw new AppError('invalid', 'lines must be a number');
  return Number(text ?? 100);
}
