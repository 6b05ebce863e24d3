import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { messageOf, toAppError } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import { waitFor } from '#core/sleep.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import type { LbSpec, SidecarStatus } from '#xlb/schema.ts';
import { serveAdmin } from './admin.ts';
import { createCertsSource } from './certs-source.ts';
import type { SidecarConfig } from './config.ts';
import { createEndpoints } from './endpoints.ts';
import { createMetrics } from './metrics.ts';
import { createNginxClient, type Generation } from './nginx-client.ts';
import { connectionLimit, reloadNginx, testNginx } from './nginx-process.ts';
import { readPeers } from './peers.ts';
import { keepRecord } from './record.ts';
import { type Rendered, renderNginx } from './render.ts';
import { sentenceOf } from './sentence.ts';
import { nginxSink, tcpSink } from './sinks.ts';
import { followSpec } from './spec-source.ts';
import { createStore } from './store.ts';
import { createStructure } from './structure.ts';
import { createTcpPart } from './tcp-part.ts';

export interface SidecarDeps {
  config: SidecarConfig;
  tcp: TcpDriver;
  log: Logger;
  /** The token has changed on disk: whoever started this starts it again. */
  onStale(): void;
}

export interface Sidecar {
  /** @param keepRecord another process of this member follows at once */
  stop(keepRecord?: boolean): Promise<void>;
}

/** Between two full looks when nothing was heard of, in milliseconds. */
const LOOK_MS = 5000;
/** Endpoint changes are said at most this often, in milliseconds; they go live at once. */
const SAY_MS = 1000;
/** After this time a structure that was refused is tried once more, in milliseconds: a port may be free again, a disk have room. */
const RETRY_MS = 60_000;
/** How long new groups may take to get their peers before the structure that leads to them goes live all the same, in milliseconds. */
const GROUPS_FIRST_MS = 1000;
const KEPT_SENTENCES = 200;

export async function startSidecar({ config, tcp: driver, log, onStale }: SidecarDeps): Promise<Sidecar> {
  const { lb, member, node, paths } = config;
  const stopping = new AbortController();
  const token = await readToken(paths.consulToken);
  const consul: ConsulClient = createConsul({ socketPath: paths.consulSocket, ...(token === undefined ? {} : { token }) });
  const nginx = createNginxClient(paths.nginxSocket);
  const store = createStore({ tables: paths.tables, services: paths.services, log });
  const limits = { workers: availableParallelism(), connections: await connectionLimit() };
  const structure = createStructure({
    folder: paths.nginxState,
    test: testNginx,
    reload: () => reloadNginx(paths.nginxPid),
    generation: () => nginx.generation(),
    log,
  });
  const sentences: string[] = [];
  const metrics = createMetrics();

  let engine: Generation | undefined;
  let rendered: Rendered | undefined;
  let renderedIndex = 0;
  let handledIndex = 0;
  let appliedIndex = 0;
  let refused: { generation: string; reason: string; at: number } | undefined;
  let sayTimer: NodeJS.Timeout | undefined;

  const loop = createLoop({ name: member, log, intervalMs: LOOK_MS, cycle });
  const soon = (ms: number) => {
    sayTimer ??= setTimeout(() => {
      sayTimer = undefined;
      loop.markDirty();
    }, ms);
  };
  const dirty = () => loop.markDirty();
  const endpoints = createEndpoints({
    lb,
    consul,
    nginx,
    sinks: { http: nginxSink(nginx), tcp: tcpSink(driver) },
    store,
    log,
    onChange: () => soon(SAY_MS),
  });
  const certs = createCertsSource({ path: paths.certs, nginx, log, onChange: dirty });
  const record = keepRecord({ consul, key: `xcaas/lb/${lb}/members/${member}`, name: `lb ${member}`, log, onChange: dirty });
  const tcpPart = createTcpPart({ driver, endpoints, log });
  await endpoints.begin();
  const source = followSpec({ consul, lb, log, signal: stopping.signal, onChange: dirty, onError: dirty });

  async function cycle(): Promise<string> {
    if ((await readToken(paths.consulToken)) !== token) onStale();
    await lookAtEngine();
    await certs.sync().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'certificates could not be pushed'));
    const current = source.current();
    if (current !== undefined) await follow(current.spec, current.index);
    await tcpPart.look();
    const status = statusNow();
    record.set(status);
    remember(status.sentence);
    return status.sentence;
  }

  async function lookAtEngine(): Promise<void> {
    const seen = await nginx.generation().catch(() => undefined);
    const isNew = seen !== undefined && seen.pids.join() !== engine?.pids.join();
    engine = seen;
    if (!isNew) return;
    // Workers that were not there before: after a reload they took over what was known, after a start they read it from disk.
    certs.forget();
    await endpoints.resync().catch((error: unknown) => {
      engine = undefined;
      log.warn({ err: messageOf(error) }, 'what nginx holds could not be compared');
    });
  }

  async function follow(spec: LbSpec, index: number): Promise<void> {
    if (index !== handledIndex) {
      await endpoints.setSpec(spec);
      handledIndex = index;
      refused = undefined;
    }
    try {
      // Each cycle comes by here, with every change of an endpoint; the structure is another one only with another specification.
      if (rendered === undefined || index !== renderedIndex) rendered = renderNginx(spec, limits);
      renderedIndex = index;
    } catch (error) {
      refused = { generation: '', reason: messageOf(error), at: performance.now() };
      return;
    }
    await waitFor(async () => (endpoints.summary().httpSettled ? true : undefined), {
      timeoutMs: needsReload() ? GROUPS_FIRST_MS : 0,
      intervalMs: 20,
    });
    const structureLive = await bringStructure(rendered);
    const tcpLive = await tcpPart.follow(spec);
    if (structureLive && tcpLive && endpoints.summary().settled) {
      if (appliedIndex !== index) await endpoints.prune();
      appliedIndex = index;
    } else {
      soon(SAY_MS);
    }
  }

  function needsReload(): boolean {
    return engine === undefined || engine.generation !== rendered?.generation;
  }

  /** @returns whether nginx runs with it */
  async function bringStructure(wanted: Rendered): Promise<boolean> {
    if (refused?.generation === wanted.generation && performance.now() - refused.at < RETRY_MS) return false;
    const wait = needsReload() ? structure.holdOffMs(engine?.old.length ?? 0, limits.workers) : 0;
    if (wait > 0) {
      soon(Math.min(wait, LOOK_MS));
      return false;
    }
    try {
      const outcome = await structure.apply(wanted, limits.workers);
      if (outcome === 'reloaded') {
        metrics.reloads.inc();
        log.info({ generation: wanted.generation }, 'a new structure is live');
        await lookAtEngine();
      }
      refused = undefined;
      return outcome !== 'staged';
    } catch (thrown) {
      const error = toAppError(thrown);
      metrics.refusals.inc();
      log.warn({ generation: wanted.generation, code: error.code, err: error.message }, 'a structure was refused');
      refused = { generation: wanted.generation, reason: error.message, at: performance.now() };
      return false;
    }
  }

  function statusNow(): SidecarStatus {
    const summary = endpoints.summary();
    const tcp = tcpPart.state();
    const rejected = refused?.reason ?? tcp.rejected ?? source.problem();
    const facts = {
      engineUp: engine !== undefined && (tcp.listeners === 0 || tcp.running),
      consulReachable: record.reachable(),
      generation: engine?.generation ?? '',
      wantedGeneration: rendered?.generation ?? engine?.generation ?? '',
      oldWorkers: (engine?.old.length ?? 0) + tcp.oldWorkers,
      ...(rejected === undefined ? {} : { rejected }),
    };
    const sentence = sentenceOf({
      ...facts,
      member,
      hasSpec: source.current() !== undefined,
      nginxUp: engine !== undefined,
      workers: engine?.workers ?? 0,
      pending: source.current() !== undefined && appliedIndex !== source.current()?.index,
      summary,
      problems: [...(tcp.unsaved === undefined ? [] : [tcp.unsaved]), ...certs.problems()],
    });
    return {
      v: 1,
      member,
      node,
      sentence,
      ...facts,
      liveVersion: summary.liveVersion,
      specIndex: appliedIndex,
      certsVersion: certs.version(),
    };
  }

  function remember(sentence: string): void {
    if (sentences.at(-1)?.endsWith(` ${sentence}`)) return;
    sentences.push(`${new Date().toISOString()} ${sentence}`);
    if (sentences.length > KEPT_SENTENCES) sentences.shift();
  }

  const admin = await serveAdmin(paths.admin, {
    status: statusNow,
    peers: () => readPeers(member, nginx, tcpPart.state().listeners === 0 ? undefined : driver, endpoints.describe),
    async metrics() {
      const parts = [
        metrics.text(statusNow(), endpoints.summary()),
        nginx.metrics(),
        ...(tcpPart.state().listeners === 0 ? [] : [driver.metrics()]),
      ];
      const texts = await Promise.allSettled(parts);
      return texts
        .flatMap((text) => (text.status === 'fulfilled' ? [text.value.trimEnd()] : []))
        .join('\n')
        .concat('\n');
    },
    async health() {
      const up = await nginx.generation().then(
        () => true,
        () => false,
      );
      const { sentence, engineUp } = statusNow();
      return { ok: up && loop.alive() && (engineUp || tcpPart.state().listeners === 0), sentence };
    },
    async check() {
      refused = undefined;
      tcpPart.retry();
      await loop.runExclusive(cycle);
      return statusNow();
    },
    logs: (lines) => sentences.slice(-lines),
  });

  loop.start();
  log.info({ lb, member, workers: limits.workers, connections: limits.connections }, 'sidecar started');
  return {
    async stop(keep = false) {
      stopping.abort();
      clearTimeout(sayTimer);
      admin.close();
      admin.closeAllConnections();
      certs.stop();
      endpoints.stop();
      driver.stop();
      await loop.stop();
      await record.stop(keep);
      consul.close();
    },
  };
}

/** Without a token Consul refuses everything, which harms nothing; the file may come later. */
async function readToken(path: string): Promise<string | undefined> {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim();
  return text === '' ? undefined : text;
}
