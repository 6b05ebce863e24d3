import type { Master } from '#tcp/master.ts';

/** Workers that a reload has replaced and whose connections go on. */
export interface OldWorkers {
  /**
   * Ends connections that live in them; asks nobody while it is known that there are none, as at most changes of an endpoint. A replaced worker refuses `shutdown sessions server`
   * ("Proxy is disabled", HAProxy 3.0), so connections are listed and ended one by one.
   *
   * @param chosen tells by `proxy/server` which ones
   * @returns how many were ended
   * @throws AppError `unavailable`, `timeout`
   */
  cut(chosen: (at: string) => boolean): Promise<number>;
  /** Runs what may replace a worker. */
  duringReload<T>(reload: () => Promise<T>): Promise<T>;
  /** Somebody else may have reloaded: they are asked for again. */
  forget(): void;
}

export function followOldWorkers(master: Master): OldWorkers {
  // Of the time before this process nothing is known.
  let none = false;
  let reloads = 0;
  /** What is seen before or while a worker is replaced says nothing of the time after it. */
  let epoch = 0;

  function forget() {
    epoch += 1;
    none = false;
  }

  return {
    forget,
    async duringReload(reload) {
      reloads += 1;
      forget();
      try {
        return await reload();
      } finally {
        reloads -= 1;
        forget();
      }
    },
    async cut(chosen) {
      if (none) return 0;
      const asked = epoch;
      const { oldWorkers } = await master.processes();
      if (oldWorkers.length === 0) none = asked === epoch && reloads === 0;
      let count = 0;
      for (const pid of oldWorkers) {
        const rows = await master.stat(pid);
        // Listing connections is dear, counting them is not.
        if (!rows.some((row) => row.active > 0 && chosen(`${row.proxy}/${row.server}`))) continue;
        const ids = (await master.sessions(pid))
          .filter((session) => chosen(`${session.proxy}/${session.server}`))
          .map((session) => session.id);
        await master.shutdownSessions(pid, ids);
        count += ids.length;
      }
      return count;
    },
  };
}
