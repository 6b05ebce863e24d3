import { AppError } from '#core/errors.ts';
import type { Heartbeat } from '#xdb/engine/engine.ts';
import { HEARTBEAT_TABLE, OWN_SCHEMA } from './names.ts';
import type { Sql } from './sql.ts';

const WRITE = `INSERT INTO ${OWN_SCHEMA}.${HEARTBEAT_TABLE} (id, epoch, member, at) VALUES (?, ?, ?, UTC_TIMESTAMP(6))
  ON DUPLICATE KEY UPDATE epoch = VALUES(epoch), member = VALUES(member), at = VALUES(at)`;

/** After so long another one is sent after it, in milliseconds: when only its acknowledgement was lost, that of the next one releases both (H6). */
const NUDGE_MS = 800;
const MOST = 4;
/** Rows, taken in turn: one that waits for its acknowledgement has its row locked. */
const ROWS = 16;
let turn = 0;

/** A connection of the writer's account, to be given back when it is fit for use again. */
export interface Lease {
  sql: Sql;
  giveBack(): void;
}

/**
 * Writes a heartbeat row. It waits for its acknowledgement like any commit; meanwhile others are sent after it, each on a connection of its own.
 *
 * @returns how long it took until the first of them was through
 * @throws AppError `timeout`; `engine` when it is refused (read-only)
 */
export async function writeHeartbeat(lease: () => Promise<Lease>, beat: Heartbeat, timeoutMs: number): Promise<{ ms: number }> {
  const began = performance.now();
  const leases = new Set<Lease>();
  const timers: NodeJS.Timeout[] = [];
  let over = false;

  async function send(): Promise<void> {
    const mine = await lease();
    if (over) return mine.giveBack();
    leases.add(mine);
    turn = (turn % ROWS) + 1;
    await mine.sql.query(WRITE, [turn, beat.epoch, beat.member], { timeoutMs });
    leases.delete(mine);
    mine.giveBack();
  }
  try {
    await new Promise<void>((resolve, reject) => {
      timers.push(
        setTimeout(() => reject(new AppError('timeout', `the heartbeat was not acknowledged within ${timeoutMs} ms`)), timeoutMs),
      );
      for (let nth = 0; nth < MOST && nth * NUDGE_MS < timeoutMs; nth += 1) {
        // One that came after the first may fail for want of a connection; the first one's failure is everybody's.
        const one = () => send().then(resolve, (error) => nth === 0 && reject(error));
        if (nth === 0) void one();
        else timers.push(setTimeout(one, nth * NUDGE_MS));
      }
    });
  } finally {
    over = true;
    for (const timer of timers) clearTimeout(timer);
    // Those still wait: the engine ends them when they are acknowledged.
    for (const { sql } of leases) sql.close();
  }
  return { ms: performance.now() - began };
}
