import { type ConsulClient, parseKv } from '#core/consul/client.ts';
import { parseRecord } from '#core/consul/records.ts';
import { watchConsul } from '#core/consul/watch.ts';
import { type AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { LbSpec } from '#xlb/schema.ts';

/** The specification as Consul last gave it whole. */
export interface SpecSource {
  /** Undefined until the first one was read. */
  current(): { spec: LbSpec; index: number } | undefined;
  /** Why what stands in Consul now is not followed: it is gone, or is no specification. */
  problem(): string | undefined;
}

export interface SpecSourceOptions {
  consul: Pick<ConsulClient, 'request'>;
  lb: string;
  log: Logger;
  signal: AbortSignal;
  onChange(): void;
  onError(error: AppError): void;
}

export function followSpec({ consul, lb, log, signal, onChange, onError }: SpecSourceOptions): SpecSource {
  const key = `xcaas/lb/${lb}/spec`;
  let current: { spec: LbSpec; index: number } | undefined;
  let problem: string | undefined;
  void watchConsul({
    consul,
    path: `/v1/kv/${key}`,
    parse: (answer) => parseKv(answer, `the specification of ${lb}`)[0],
    onChange(entry) {
      try {
        // A record that vanished is no order to stop: the controller removes the member when that is meant.
        problem = entry === undefined ? `there is no specification of ${lb} in Consul` : undefined;
        if (entry !== undefined) current = { spec: parseRecord(LbSpec, entry), index: entry.modifyIndex };
      } catch (error) {
        problem = messageOf(error);
      }
      onChange();
    },
    onError,
    log,
    signal,
  });
  return { current: () => current, problem: () => problem };
}
