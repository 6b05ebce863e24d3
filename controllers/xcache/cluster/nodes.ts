import type { SlotRange } from './slots.ts';

/** A slot that is half moved in the older way (CLUSTER SETSLOT): the node that it goes to, or comes from. */
export interface OpenSlot {
  slot: number;
  way: 'to' | 'from';
  node: string;
}

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
  open: OpenSlot[];
}

/** `<id> <ip:port@bus[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slot> …`. Nodes in their handshake are left out: they have no names of their own yet. */
export function parseNodes(text: string): NodeLine[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [id, where = '', flagText = '', master = '-', , , , link, ...slots] = line.trim().split(' ');
    if (id === undefined || id === '' || id === 'vars' || flagText === '') return [];
    const flags = flagText.split(',');
    if (flags.includes('handshake')) return [];
    const place = /^(.*):(\d+)@\d+/.exec(where);
    return [
      {
        ...{ id, address: place?.[1] ?? '', port: Number(place?.[2] ?? 0), myself: flags.includes('myself') },
        role: flags.includes('slave') ? ('replica' as const) : ('master' as const),
        master: master === '-' ? undefined : master,
        failed: flags.some((flag) => ['fail', 'fail?', 'noaddr'].includes(flag)),
        linkUp: flags.includes('myself') || link === 'connected',
        slots: slots.flatMap(rangeOf),
        open: slots.flatMap(openOf),
      },
    ];
  });
}

function rangeOf(text: string): SlotRange[] {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return [];
  return [{ first: Number(match[1]), last: Number(match[2] ?? match[1]) }];
}

function openOf(text: string): OpenSlot[] {
  const [, slot, way, node] = /^\[(\d+)-([<>])-(\w+)\]$/.exec(text) ?? [];
  if (slot === undefined || node === undefined) return [];
  return [{ slot: Number(slot), way: way === '>' ? 'to' : 'from', node }];
}
