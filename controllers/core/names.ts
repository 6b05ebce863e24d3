import { z } from 'zod';

/**
 * A service's or member's name: it becomes a DNS label, a container name, a KV path and part of configuration files, so nothing
 * outside this form is ever accepted (RFC 1123 label; 40 characters leave room for a member's suffix).
 */
export const name = z
  .string()
  .min(1)
  .max(48)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'use lower-case letters, digits and "-", and begin and end with a letter or digit');
export const serviceName = name.max(40, 'use at most 40 characters');

export const port = z.number().int().min(1).max(65535);
