/**
 * The epoch as the heartbeat of the very server says that one writes to. Between a server's first write in an epoch and its first heartbeat the newest one is
 * its predecessor's, of the epoch before: then the epoch is not known.
 *
 * @param servers `@@server_id` and name of each member
 */
export function readsEpoch(servers: readonly { serverId: string; member: string }[]): string {
  const own = servers.map(({ serverId, member }) => `WHEN ${serverId} THEN '${member}'`);
  // Ordered by the column: a bare `epoch` would be what is selected, and a NULL comes last.
  return `SELECT IF(member = CASE @@server_id ${own.join(' ')} END, epoch, NULL) AS epoch FROM xcaas.heartbeat
    ORDER BY heartbeat.epoch DESC LIMIT 1`;
}
