import type { Master } from '#tcp/master.ts';

/**
 * Ends connections that live in replaced workers. A replaced worker refuses `shutdown sessions server` ("Proxy is disabled", HAProxy 3.0), so they are
 * listed and ended one by one.
 *
 * @param chosen tells by `proxy/server` which ones
 * @returns how many were ended
 * @throws AppError `unavailable`, `timeout`
 */
export async function cutInOldWorkers(master: Master, chosen: (at: string) => boolean): Promise<number> {
  const { oldWorkers } = await master.processes();
  let count = 0;
  for (const pid of oldWorkers) {
    const rows = await master.stat(pid);
    // Listing connections is dear, counting them is not.
    if (!rows.some((row) => row.active > 0 && chosen(`${row.proxy}/${row.server}`))) continue;
    const ids = (await master.sessions(pid)).filter((session) => chosen(`${session.proxy}/${session.server}`)).map((session) => session.id);
    await master.shutdownSessions(pid, ids);
    count += ids.length;
  }
  return count;
}
