import { systemCode } from '#core/errors.ts';

export type Method = 'GET' | 'POST';

/** A request that was not answered as it should have been. Times are milliseconds since 1970. */
export interface Failure {
  sent: number;
  ended: number;
  method: Method;
  stage: string;
  /** `refused`, `reset`, `timeout`, `truncated`, `overrun`, `status 502`, … */
  reason: string;
}

/** A failure and, when it has one, its reason. */
export interface Explained extends Failure {
  explained?: string;
}

/** Something the demo did that may cost requests: a container killed. */
export interface Mark {
  container: string;
  /** When the engine was asked, and when it had answered; the container died between the two. */
  from: number;
  to: number;
}

/** Milliseconds after a container's death in which what was sent to it may still come back as failed: the load balancer's own reading of it. */
const AFTERMATH_MS = 1000;

/**
 * Why a request failed, if that is a reason the load balancer is allowed: it must not send a request that changes something a second time, so one
 * that a killed container was working on is lost. Everything else is the load balancer's fault.
 *
 * @returns undefined when nothing explains it
 */
export function explain(failure: Failure, marks: readonly Mark[]): string | undefined {
  if (failure.method !== 'POST' || !['status 502', 'status 504'].includes(failure.reason)) return undefined;
  const mark = marks.find(({ from, to }) => failure.ended >= from && failure.sent <= to + AFTERMATH_MS);
  if (mark === undefined) return undefined;
  return `${mark.container} was working on it when it was killed, and what changes something is never sent twice`;
}

/** Node's word for how a request ended, as a person says it. */
export function reasonOf(error: unknown): string {
  const code = systemCode(error);
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    case undefined:
      return 'broken';
    default:
      return code;
  }
}
