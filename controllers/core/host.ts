import { z } from 'zod';

/** Names that a user gives to hosts, groups, racks: shown, compared, written into Consul's configuration. */
const word = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'use letters, digits and . _ -, and begin with a letter or digit');

/** Key of a label, as the engine takes it: `storage`, `com.alipay.acs.topic.group`. */
export const labelKey = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/, 'use letters, digits and . _ / -');

/** `xcaas/hosts/<id>/spec`: what was decided about a host, by its join and by `xcaas node …`. */
export const HostSpec = z.object({
  v: z.literal(1),
  /** A UUID made once on the host; Swarm's own node id changes when a host joins again. */
  id: z.uuid(),
  name: word,
  /** The address other hosts reach it at. */
  address: z.string().min(1),
  /** Fault group: what can fail at once. Members of one service go to different groups. */
  group: word,
  rack: word,
  labels: z.record(labelKey, z.string().max(256)).default({}),
  /** True on hosts that are (to be) Swarm managers and Consul servers and run control. */
  manager: z.boolean(),
  /** True = no new member is placed there. */
  drained: z.boolean().default(false),
});
export type HostSpec = z.infer<typeof HostSpec>;
