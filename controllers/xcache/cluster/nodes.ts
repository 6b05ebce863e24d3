import type { SlotRange } from './slots.ts';

/** One line of CLUSTER NODES: a node as another one sees it. */
export interface NodeLine {
  id: string;
  address: string;
  port: number;
  myself: boolean;
  role: 'master' | 'replica';
  /** Of the master that it follows. */
  master: string | undefined;
  /** Gossip holds it for dead, or nobody knows where it is. */
  failed: boolean;
  linkUp: boolean;
  slots: SlotRange[];
  /** Half-moved slots of the older way (SETSLOT … MIGRATING or IMPORTING). */
  open: number[];
}

/** `<id> <ip:port@bus[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slot> …` */
export function parseNodes(text: string): NodeLine[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [id, where = '', flagText = '', master = '-', , , , link, ...slots] = line.trim().split(' ');
    if (id === undefined || id === '' || flagText === '') return [];
    const flags = flagText.split(',');
    const place = /^(.*):(\d+)@\d+/.exec(where);
    return [
      {
        ...{ id, address: place?.[1] ?? '', port: Number(place?.[2] ?? 0), myself: flags.includes('myself') },
        role: flags.includes('slave') ? ('replica' as const) : ('master' as const),
        master: master === '-' ? undefined : master,
        failed: flags.some((flag) => ['fail', 'fail?', 'noaddr', 'handshake'].includes(flag)),
        linkUp: flags.includes('myself') || link === 'connected',
        slots: slots.flatMap(rangeOf),
        open: slots.flatMap((slot) => /^\[(\d+)-[<>]-/.exec(slot)?.[1] ?? []).map(Number),
      },
    ];
  });
}

function rangeOf(text: string): SlotRange[] {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return [];
  return [{ first: Number(match[1]), last: Number(match[2] ?? match[1]) }];
}
