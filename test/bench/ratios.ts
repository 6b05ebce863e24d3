import type { Row } from './figure.ts';
import type { Comparison } from './rounds.ts';
import { tell } from './stats.ts';

/** Endpoint changes a second under which both are measured. */
export const CHURN_PER_SECOND = 10;

/** @param kind of the listener @param engine that serves it, static in the baseline */
export function ratioRows(kind: string, engine: string, compared: Comparison): Row[] {
  const { throughput, cpu, cpuWhole, sidecarShare, perSecond, cpuMicros } = compared;
  return [
    {
      figure: `${kind}: throughput under ${CHURN_PER_SECOND} changes/s ÷ static ${engine}`,
      bar: '≥ 0.97',
      measured: `${tell(throughput, 3)}, ${perSecond.ours.median.toFixed(0)}/s`,
      met: throughput.median >= 0.97,
      values: { ...throughput, perSecond: perSecond.ours.median, baselinePerSecond: perSecond.baseline.median },
    },
    {
      figure: `${kind}: CPU per request of ${engine} ÷ static ${engine}`,
      bar: '≤ 1.05',
      measured: `${tell(cpu, 3)}, ${cpuMicros.ours.median.toFixed(1)} µs`,
      met: cpu.median <= 1.05,
      values: { ...cpu, micros: cpuMicros.ours.median, baselineMicros: cpuMicros.baseline.median },
    },
    {
      figure: `${kind}: the sidecar meanwhile, of a core; with it CPU ÷ static`,
      bar: '–',
      measured: `${tell({ median: 100 * sidecarShare.median, min: 100 * sidecarShare.min, max: 100 * sidecarShare.max }, 1, ' %')}; ${cpuWhole.median.toFixed(3)}`,
      met: undefined,
      values: { sidecarShare: sidecarShare.median, wholeRatio: cpuWhole.median },
    },
  ];
}
