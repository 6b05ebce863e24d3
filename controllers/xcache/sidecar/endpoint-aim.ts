import type { Endpoint } from '#member/endpoint.ts';
import type { EndpointTable } from '#member/endpoint-table.ts';

/** The endpoint, led by revisions of the record: HAProxy holds a table a moment after it was told to. */
export interface EndpointAim {
  lead(table: EndpointTable, rev: number): void;
  /** Newest revision that HAProxy was seen to lead by; 0 before. Who knows a revision only may lead clients by an older one. */
  rev(): number;
}

export function createEndpointAim(endpoint: Pick<Endpoint, 'lead' | 'live'>): EndpointAim {
  let aimed = 0;
  let held = 0;
  return {
    lead(table, rev) {
      endpoint.lead(table);
      aimed = rev;
    },
    rev() {
      if (endpoint.live()) held = aimed;
      return held;
    },
  };
}
