import type { ConsulClient } from '#core/consul/client.ts';
import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import type { Local } from '#xdb/protocol/types.ts';
import { AckedRecord } from '#xdb/schema.ts';
import { dbKeys } from '#xdb/store.ts';
import type { HeartbeatWriter } from './heartbeat.ts';
import type { Part } from './part.ts';

export interface AckedOptions {
  consul: Pick<ConsulClient, 'kv'>;
  db: string;
  heartbeat: Pick<HeartbeatWriter, 'through'>;
  log: Logger;
  now?: () => number;
}

/** Between two writes, in milliseconds: it is a sanity check, and each write wakes whoever watches the records. */
const EVERY_MS = 10_000;

/**
 * K2: the leader writes down up to where its slave has acknowledged, in a key of its own, while the record names a slave. What stood in its binlog before a heartbeat was sent
 * is acknowledged when that heartbeat is: an acknowledgement is of everything before it too. Nothing waits for it.
 */
export function createAcked({
  consul,
  db,
  heartbeat,
  log,
  now = () => performance.now(),
}: AckedOptions): (part: Part, local: Local) => void {
  const keys = dbKeys(db);
  let sample: { at: number; instance: string; rev: number; gtid: string } | undefined;
  let writtenAt = Number.NEGATIVE_INFINITY;
  let epochBefore: number | undefined;

  async function write(record: AckedRecord): Promise<void> {
    try {
      await consul.kv.put(keys.acked(record.epoch), JSON.stringify(record));
      // Of an epoch that is over nobody asks any more.
      if (epochBefore !== record.epoch) await consul.kv.delete(keys.acked(record.epoch - 1));
      epochBefore = record.epoch;
    } catch (error) {
      log.debug({ err: messageOf(error) }, 'what was acknowledged could not be written down');
    }
  }

  return ({ writes }, { engine }) => {
    const sync = writes?.sync;
    if (writes === undefined || sync?.sync == null || engine.state !== 'running' || !engine.semiSyncMaster || engine.semiSyncLapsed) {
      sample = undefined;
      return;
    }
    const { instance, binlogGtid } = writes.facts;
    if (sample === undefined || sample.instance !== instance || sample.rev !== sync.rev) {
      sample = { at: now(), instance, rev: sync.rev, gtid: binlogGtid };
      return;
    }
    const beat = heartbeat.through();
    if (beat === undefined || beat.instance !== instance || beat.epoch !== sync.epoch || beat.beganAt <= sample.at) return;
    if (now() - writtenAt < EVERY_MS) {
      sample = undefined;
      return;
    }
    writtenAt = now();
    void write(AckedRecord.parse({ v: 1, epoch: sync.epoch, sync: sync.sync, gtid: sample.gtid }));
    sample = undefined;
  };
}
