import { z } from 'zod';
import { port } from '#core/names.ts';

/** What a member answers of the master that its database follows (`GET /upstream` of its sidecar). */
export const UpstreamStanding = z.object({
  /** Its threads run. */
  following: z.boolean(),
  lagSeconds: z.number().nullable(),
  /** Why it does not follow. */
  broken: z.string().nullable(),
  /** The master could be asked now; else `error` says why not. */
  answers: z.boolean(),
  /** Everything that the master had when it was asked has been received. */
  reached: z.boolean(),
  /** Transactions that have not; null where they cannot be counted. */
  missing: z.number().nullable(),
  /** The master takes no writes. */
  readOnly: z.boolean(),
  error: z.string().nullable(),
});
export type UpstreamStanding = z.infer<typeof UpstreamStanding>;

/** `POST /inspect-upstream`: a server that is to be looked at from where the member is. */
export const UpstreamAsked = z.object({
  host: z.string().min(1).max(255),
  port,
  user: z.string().min(1).max(128),
  password: z.string().max(512),
  tls: z.boolean(),
});
export type UpstreamAsked = z.infer<typeof UpstreamAsked>;
