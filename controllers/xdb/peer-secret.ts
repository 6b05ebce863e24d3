import { createHmac } from 'node:crypto';

/** What members of one database know each other by: made from the agent's password, and of no use at an engine. */
export function peerSecretOf({ agent }: { agent: string }): string {
  return createHmac('sha256', agent).update('xdb peer').digest('hex');
}
