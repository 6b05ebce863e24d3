import { memberImage } from '../../appliance/xlb-sidecar-lab.ts';
import { http } from '../figures/http.ts';
import { many, type Part } from '../figures/many.ts';
import { tcp } from '../figures/tcp.ts';
import { up } from '../figures/up.ts';
import type { Suite } from '../suite.ts';

const PARTS: readonly Part[] = ['rest', 'propagation', 'sockets', 'starts'];

/** A load balancer. */
export const lb: Suite = {
  names: ['http', 'tcp', ...PARTS, 'up'],
  image: memberImage,
  programs: { nginx: ['nginx', '-v'], haproxy: ['haproxy', '-v'] },
  groups({ plan, only, say }) {
    const parts = new Set(PARTS.filter((part) => only.has(part)));
    return [
      { name: 'http', wanted: only.has('http'), measure: () => http(plan, say) },
      { name: 'tcp', wanted: only.has('tcp'), measure: () => tcp(plan, say) },
      { name: '1,000 endpoints', wanted: parts.size > 0, measure: () => many(plan, say, parts) },
      { name: 'up', wanted: only.has('up'), measure: () => up(say) },
    ];
  },
};
