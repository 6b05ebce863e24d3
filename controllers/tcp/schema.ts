import { SocketAddress } from 'node:net';
import { z } from 'zod';
import { name, port } from '#core/names.ts';

/** What the TCP part is asked to be (`TcpConfig`), where its connections go (`TcpTable`) and what HAProxy says of them (`LiveTable`). */

/** An IP address in the one spelling that HAProxy prints, so that asked and observed can be compared as strings. */
export const ipAddress = z.union([z.ipv4(), z.ipv6().transform((address) => new SocketAddress({ address, family: 'ipv6' }).address)]);

const milliseconds = (min: number, max: number) => z.number().int().min(min).max(max);

/** How HAProxy itself looks whether a peer lives. Defaults as in the HTTP part. */
export const TcpCheck = z.object({
  type: z.enum(['tcp', 'http']).default('tcp'),
  /** Asked with GET by an `http` check; 2xx and 3xx pass. */
  path: z
    .string()
    .max(512)
    .regex(/^\/[A-Za-z0-9._~/-]*$/, 'use "/" and letters, digits and . _ ~ - only')
    .default('/'),
  intervalMs: milliseconds(200, 300_000).default(2000),
  timeoutMs: milliseconds(50, 60_000).default(1000),
  rise: z.number().int().min(1).max(100).default(2),
  fall: z.number().int().min(1).max(100).default(2),
});
export type TcpCheck = z.infer<typeof TcpCheck>;

export const TcpBackend = z.object({
  name,
  /** `hash`: by the client's address, consistent, the same on every replica. */
  algorithm: z.enum(['round_robin', 'least_conn', 'hash']).default('round_robin'),
  /** One try; a connection that a peer refuses or does not answer goes to another peer, three tries in all. */
  connectTimeoutMs: milliseconds(50, 60_000).default(1000),
  /** `none`: only the table says who is up. */
  check: z.union([z.literal('none'), TcpCheck]).default('none'),
  /** Failed connections in a row after which a checked peer is taken out until its checks pass again; 0: never. */
  maxFails: z.number().int().min(0).max(100).default(0),
  /** Connections to a peer that the table or the check declares down: cut them, or let them end by themselves. */
  onMarkedDown: z.enum(['shutdown-sessions', 'none']).default('none'),
  /** Connections to a peer that has left the table. `cut` is for databases, where the old master must not be spoken to after a change. */
  onRemoved: z.enum(['drain', 'cut']).default('drain'),
  /** Connections at once per peer; more wait for up to the connect timeout. */
  maxConnectionsPerPeer: z.number().int().min(1).max(1_000_000).optional(),
});
export type TcpBackend = z.infer<typeof TcpBackend>;

export const TcpListener = z.object({
  port,
  backend: name,
  /** Address to listen on; every IPv4 address when left out. */
  address: ipAddress.optional(),
});
export type TcpListener = z.infer<typeof TcpListener>;

export const TcpConfig = z
  .object({
    listeners: z.array(TcpListener).max(1000),
    backends: z.array(TcpBackend).max(1000),
    /** A connection without a byte in either direction for so long is closed. Databases keep idle connections for hours: a day by default. */
    idleTimeoutMs: milliseconds(1000, 2_000_000_000).default(86_400_000),
    /**
     * A connection that one side has ended is ended whole after so long without a byte; left out: after the idle timeout. HAProxy cannot be told to end one whose client has
     * gone, so that a peer that is frozen would keep it.
     */
    halfClosedMs: milliseconds(100, 86_400_000).optional(),
    /** All connections of clients together; left out, HAProxy takes what its file descriptors allow (131,072 at most). */
    maxConnections: z.number().int().min(1).max(1_000_000).optional(),
    /** How long connections of a replaced worker may live on after a structure change; left out: until they end by themselves. */
    hardStopAfterMs: milliseconds(1000, 2_000_000_000).optional(),
    /** Threads; left out: one a core. */
    threads: z.number().int().min(1).max(64).optional(),
    /** One JSON line on stdout for each connection that ended. */
    accessLog: z.boolean().default(false),
  })
  .superRefine((config, context) => {
    const backends = new Set<string>();
    config.backends.forEach((backend, index) => {
      if (backends.has(backend.name))
        context.addIssue({ code: 'custom', path: ['backends', index], message: `two backends are named ${backend.name}` });
      backends.add(backend.name);
    });
    const sockets = new Set<string>();
    config.listeners.forEach((listener, index) => {
      const socket = `${listener.address ?? '*'} port ${listener.port}`;
      if (sockets.has(socket)) context.addIssue({ code: 'custom', path: ['listeners', index], message: `two listeners on ${socket}` });
      sockets.add(socket);
      if (!backends.has(listener.backend)) {
        context.addIssue({ code: 'custom', path: ['listeners', index], message: `there is no backend ${listener.backend}` });
      }
    });
  });
export type TcpConfig = z.infer<typeof TcpConfig>;
/** What a caller writes: defaults may be left out. */
export type TcpConfigInput = z.input<typeof TcpConfig>;

export const TcpPeer = z.object({
  /** Consul's service id, or a member's name. */
  id: z.string().regex(/^[\x21-\x7e]{1,128}$/, 'use 1 to 128 printable ASCII characters'),
  address: ipAddress,
  port,
  weight: z.number().int().min(1).max(1000).default(100),
  /** `draining`: no new connections, those that are there go on. `down`: no new connections; the others by `onMarkedDown`. */
  state: z.enum(['up', 'draining', 'down']).default('up'),
});
export type TcpPeer = z.infer<typeof TcpPeer>;

/** HAProxy's round robin holds at most 4,095 servers (configuration manual, `balance`). */
export const MAX_PEERS = 4000;

export const TcpTable = z
  .object({
    backend: name,
    /** Grows with each change; an older one is refused. */
    version: z.number().int().positive(),
    peers: z.array(TcpPeer).max(MAX_PEERS),
  })
  .refine((table) => new Set(table.peers.map((peer) => peer.id)).size === table.peers.length, 'two peers have the same id');
export type TcpTable = z.infer<typeof TcpTable>;
export type TcpTableInput = z.input<typeof TcpTable>;

/** A peer as HAProxy itself describes it. Counters begin anew with each worker. */
export interface LiveTcpPeer extends TcpPeer {
  /** Gets new connections, as far as its state allows any. */
  healthy: boolean;
  /** Connections now, those of replaced workers included. */
  active: number;
  /** Of them, in workers that a structure change has replaced. */
  activeInOldWorkers: number;
  /** Connections since the worker began. */
  requests: number;
  /** Connections that could not be made or broke. */
  failures: number;
  /** Not in the table any more; goes when its last connection ends. */
  leaving: boolean;
  /** HAProxy's own word: `UP`, `DOWN`, `MAINT`, `DRAIN`, `no check`, … */
  status: string;
}

export interface LiveTable {
  backend: string;
  /** Version of the newest table that was applied, 0 when there was none. */
  version: number;
  /** HAProxy holds that table, entry by entry, at this moment. */
  live: boolean;
  peers: LiveTcpPeer[];
}

/** HAProxy as a whole. */
export interface TcpStatus {
  running: boolean;
  /** Structure that the current worker runs with. */
  generation: string | undefined;
  /** Structure that was applied last. */
  wantedGeneration: string;
  /** Replaced workers that still have connections. */
  oldWorkers: number;
  reloads: number;
  /** Why the newest tables are not on disk. */
  unsaved: string | undefined;
}
