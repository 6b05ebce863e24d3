import { z } from 'zod';
import { name, port, serviceName } from '#core/names.ts';

/** What the records of every service with data have in common. */

const bytes = z.number().int().positive();

/** Fields of each specification, to be spread into its own. */
export const serviceSpec = {
  v: z.literal(1),
  name: serviceName,
  created: z.string().optional(),
  /** Image as the user named it (`--image`), or none for the built-in one. */
  image: z.string().max(300).optional(),
  /** ID of that image, found when it was asked for: members are made from it and from nothing else. */
  imageId: z.string().optional(),
  /** Whole CPUs are bound; a fraction is counted and not bound. */
  cpus: z.number().min(0).max(1024),
  /** Of one member's container. */
  memoryBytes: bytes,
  diskBytes: bytes,
  network: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/),
  /** Host ports of each member's host that lead to a port of the endpoint. */
  publish: z.array(z.object({ hostPort: port, port })).default([]),
  /** Engine labels that a host must have: `storage=ssd`. Hard constraints. */
  labels: z.record(z.string(), z.string()).default({}),
  /** Counts changes that need a restart of the engine; members follow one after another. */
  restartSerial: z.number().int().min(0).default(0),
  /** Failover and maintenance rest until then; the protocol goes on protecting acknowledged writes. */
  pausedUntil: z.string().optional(),
  /** Seconds a host may be silent before its member is made anew elsewhere. */
  replaceAfterSeconds: z.number().int().min(30).default(600),
  destroyed: z.object({ time: z.string(), keepData: z.boolean(), purge: z.boolean() }).optional(),
};

/** `…/birth`: written by the API with the specification; `done` in the same transaction that makes the record of the master. Data begin empty only before that. */
export const BirthRecord = z.object({ v: z.literal(1), member: name, done: z.boolean() });
export type BirthRecord = z.infer<typeof BirthRecord>;

/** `…/credentials`: sealed with the pool's key. Inside: what each service says of its secrets. */
export const SealedRecord = z.object({ v: z.literal(1), serial: z.number().int(), sealed: z.string() });
export type SealedRecord = z.infer<typeof SealedRecord>;

/** `…/tls/<member>`: written by the controller; certificate and key are sealed with the pool's key. */
export const TlsRecord = z.object({ v: z.literal(1), notAfter: z.string(), names: z.array(z.string()), sealed: z.string() });
export type TlsRecord = z.infer<typeof TlsRecord>;

/** `…/handed`: written by the controller: which secrets each member was last given, by their hash, and on which host. */
export const HandedRecord = z.object({ v: z.literal(1), members: z.record(z.string(), z.object({ host: z.string(), hash: z.string() })) });
export type HandedRecord = z.infer<typeof HandedRecord>;

export const StatusWord = z.enum(['READY', 'DEGRADED', 'DOWN', 'PENDING', 'FAILED', 'PAUSED']);

/** Fields of each `…/status`, which the controller writes, to be spread into its own. */
export const serviceStatus = {
  v: z.literal(1),
  status: StatusWord,
  sentence: z.string(),
  code: z.string().optional(),
  next: z.array(z.string()),
  specIndex: z.number().int(),
  time: z.string(),
  /** When it was first as it was asked for; until then it is being made. */
  firstReady: z.string().optional(),
  /** Members that had yet to get the last change then. */
  changing: z.array(z.string()).optional(),
};
