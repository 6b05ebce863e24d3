import type { ConsulClient, ServiceHealth } from '#core/consul/client.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { sleep } from '#core/sleep.ts';
import { type Evidence, HOLD_MS, judgeEmpty, RECHECK_MS } from './guard.ts';
import { createHealthReader } from './health-reader.ts';
import type { ServiceMemory } from './store.ts';
import { type Instance, readInstances, withoutNews } from './table.ts';

/** One Consul service, followed for all groups that name it. */
export interface ServiceFollower {
  readonly service: string;
  /** What is believed of it now; undefined while nothing has ever been heard of it. */
  instances(): readonly Instance[] | undefined;
  /** Why Consul's last answer is not followed, if it is not. */
  held(): string | undefined;
  unusable(): readonly string[];
  /** The last failure, until an answer comes. */
  error(): AppError | undefined;
  stop(): void;
}

export interface ServiceFollowerOptions {
  service: string;
  consul: Pick<ConsulClient, 'request' | 'health'>;
  /** What was believed when the sidecar last ran. */
  prior: ServiceMemory | undefined;
  /** Whether the records say that the service's last target was removed on purpose. */
  isRemoved(): Promise<boolean>;
  probe(instances: readonly Instance[], signal: AbortSignal): Promise<ReadonlySet<string>>;
  onChange(): void;
  save(memory: ServiceMemory): Promise<void>;
  log: Logger;
  now?: () => number;
  holdMs?: number;
  recheckMs?: number;
}

/** Shortest time between two writes of a service's memory, in milliseconds. */
const SAVE_EVERY_MS = 1000;

export function followService(options: ServiceFollowerOptions): ServiceFollower {
  const { service, consul, prior, log, now = Date.now, holdMs = HOLD_MS, recheckMs = RECHECK_MS } = options;
  const stopping = new AbortController();
  const read = createHealthReader();
  let believed: Instance[] | undefined = prior?.instances;
  let emptySince = prior?.emptySince;
  let heldBecause: string | undefined;
  let unusable: string[] = [];
  let failure: AppError | undefined;
  let saveTimer: NodeJS.Timeout | undefined;
  let doubt: AbortController | undefined;

  const believe = (instances: Instance[]) => {
    believed = instances;
    saveTimer ??= setTimeout(save, SAVE_EVERY_MS);
    options.onChange();
  };

  function save(): void {
    saveTimer = undefined;
    const memory: ServiceMemory = { v: 1, service, instances: believed ?? [], ...(emptySince === undefined ? {} : { emptySince }) };
    options
      .save(memory)
      .catch((error: unknown) => log.warn({ service, err: messageOf(error) }, 'what Consul says of a service could not be saved'));
  }

  function take(health: ServiceHealth[]): void {
    doubt?.abort();
    doubt = undefined;
    failure = undefined;
    const reading = readInstances(health);
    unusable = reading.unusable;
    if (health.length > 0 || believed === undefined || believed.length === 0) {
      emptySince = undefined;
      heldBecause = undefined;
      believe(withoutNews(believed ?? [], reading.instances));
      return;
    }
    emptySince ??= now();
    doubt = new AbortController();
    void corroborate(AbortSignal.any([doubt.signal, stopping.signal]));
  }

  /** Until the empty answer is believed or another one comes. */
  async function corroborate(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const evidence = await gather(signal);
      if (signal.aborted) return;
      let verdict = judgeEmpty(service, believed ?? [], evidence, holdMs);
      if (verdict.do === 'probe') {
        const alive = await options.probe(
          (believed ?? []).filter((instance) => instance.state === 'up'),
          signal,
        );
        if (signal.aborted) return;
        verdict = judgeEmpty(service, believed ?? [], { ...evidence, alive, now: now() }, holdMs);
      }
      if (verdict.do === 'believe') {
        log.info({ service, reason: verdict.reason }, 'a service is empty');
        emptySince = undefined;
        heldBecause = undefined;
        believe([]);
        return;
      }
      if (verdict.do === 'keep') {
        if (heldBecause === undefined) log.warn({ service, reason: verdict.reason }, 'an empty answer is not believed yet');
        heldBecause = verdict.reason;
        believe(verdict.instances);
      }
      await sleep(recheckMs, signal);
    }
  }

  async function gather(signal: AbortSignal): Promise<Evidence> {
    const [second, witness, removed] = await Promise.all([secondRead(signal), seesConsul(signal), options.isRemoved().catch(() => false)]);
    return { second, witness, removed, alive: undefined, emptySince: emptySince ?? now(), now: now() };
  }

  async function secondRead(signal: AbortSignal): Promise<Evidence['second']> {
    const answer = await consul
      .request('GET', `/v1/health/service/${encodeURIComponent(service)}`, { query: { consistent: true }, signal })
      .catch(() => undefined);
    if (answer?.status !== 200 || answer.headers['x-consul-results-filtered-by-acls'] === 'true') return 'failed';
    if (answer.headers['x-consul-knownleader'] === 'false' || !Array.isArray(answer.body)) return 'failed';
    return answer.body.length === 0 ? 'empty' : 'some';
  }

  async function seesConsul(signal: AbortSignal): Promise<boolean> {
    const answer = await consul.request('GET', '/v1/health/service/consul', { query: { consistent: true }, signal }).catch(() => undefined);
    return answer?.status === 200 && Array.isArray(answer.body) && answer.body.length > 0;
  }

  void watchConsul<ServiceHealth[]>({
    consul,
    path: `/v1/health/service/${encodeURIComponent(service)}`,
    parse: (answer) => {
      if (answer.status !== 200) throw new AppError('engine', `Consul answered the health of ${service} with ${answer.status}`);
      return read(answer);
    },
    onChange: (health, meta) => {
      if (meta.filtered && health.length === 0) throw new AppError('forbidden', `the token of this member may not see ${service}`);
      take(health);
    },
    onError: (error) => {
      failure = error;
      options.onChange();
    },
    log,
    signal: stopping.signal,
  });

  return {
    service,
    instances: () => believed,
    held: () => heldBecause,
    unusable: () => unusable,
    error: () => failure,
    stop() {
      stopping.abort();
      if (saveTimer !== undefined) {
        clearTimeout(saveTimer);
        save();
      }
    },
  };
}
