import { z } from 'zod';
import { ipAddress } from '#tcp/schema.ts';

const Peer = z.object({ id: z.string(), address: ipAddress });
export type EndpointPeer = z.infer<typeof Peer>;

/** Where the two ports lead. As file: the last known good of it. */
export const EndpointTable = z.object({
  v: z.literal(1),
  epoch: z.number().int().min(0),
  /** Nobody while a promotion is under way: what the old master still says must not be heard any more. */
  master: Peer.nullable(),
  /** Those who follow; empty = whoever asks for a slave gets the master. */
  slaves: z.array(Peer),
});
export type EndpointTable = z.infer<typeof EndpointTable>;
