import { createHmac } from 'node:crypto';

/** What members of one cache are asked for their backups with: made from the agent's password, and of no use at an engine. */
export function peerSecretOf({ agent }: { agent: string }): string {
  return createHmac('sha256', agent).update('xcache peer').digest('hex');
}
