import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { AppError, messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { NamedInRecord, type SyncRecord } from '#xdb/schema.ts';
import type { Failpoints } from './failpoint.ts';

const MemberMemory = z.object({
  v: z.literal(1),
  db: z.string(),
  member: z.string(),
  /** Generation of the data beside this file; null while there is none. */
  gen: z.string().min(1).nullable(),
  wasMaster: z.boolean(),
  /**
   * Start of the host's kernel (its boot id) in whose memory the end of what this member has received may be, acknowledged and not applied; null when all of it is on the
   * disk.
   */
  receivingSince: z.string().min(1).nullable().default(null),
  /** Highest that this member has seen of the record (K1). */
  rev: z.number().int().min(0),
  epoch: z.number().int().min(0),
  /** Whom that record named (K1): what `db recover` makes a new one from when Consul has lost it. Null before the first was seen. */
  named: NamedInRecord.nullable().default(null),
  /** Restart serial of the specification that the engine was started with. */
  startedSerial: z.number().int().min(0).default(0),
});
export type MemberMemory = z.infer<typeof MemberMemory>;

/** Of a record what a member remembers of it. */
export type SeenRecord = Pick<SyncRecord, 'rev' | 'epoch' | 'leader' | 'sync' | 'prev' | 'state'>;

/**
 * What a member knows of itself without anybody's help: `xdb.json` in its volume. Every change is on the disk (temporary file, fsync, rename, fsync of
 * the folder) when its call returns; a call that throws has changed nothing.
 */
export interface MemberDisk {
  /** True when the file was not there: a new volume, or one with something else in it. */
  readonly isNew: boolean;
  now(): MemberMemory;
  /** Writes down whose volume this is; to be called before anything else is put into it. */
  claim(): Promise<void>;
  /** K1: remembers the newest record that was seen: its revision, its epoch and whom it named. */
  raise(seen: SeenRecord): Promise<void>;
  markMaster(was: boolean): Promise<void>;
  /** J2: to be called before anything is received. */
  noteReceiving(): Promise<void>;
  /** P4: everything that was received is applied, and nothing more is received. */
  noteWhole(): Promise<void>;
  /** What was received may have been lost with the memory of the host: it was started anew since. */
  lostMemory(): boolean;
  /** With which restart serial of the specification the engine is being started. */
  noteStart(serial: number): Promise<void>;
  /** Names the data that was just made, whole. @returns its generation */
  beginGeneration(): Promise<string>;
  /** G1: after {@link lostMemory}. Nothing that means these data as they were may count on them. @returns the new generation */
  renewGeneration(): Promise<string>;
  /** R2: to be called before the first file is removed. The mark of a master goes too: it was one of the data. */
  endGeneration(): Promise<void>;
}

/**
 * @param kernel boot id of the host's kernel
 * @throws AppError `conflict` when the volume belongs to another database or member; `internal` when the file is damaged: a member whose memory is lost
 * must not guess
 */
export async function openDisk(
  path: string,
  owner: { db: string; member: string },
  failpoints: Failpoints,
  kernel: string,
): Promise<MemberDisk> {
  await mkdir(dirname(path), { recursive: true });
  const text = await readIfThere(path);
  const isNew = text === undefined;
  let memory: MemberMemory = isNew
    ? { v: 1, ...owner, gen: null, wasMaster: false, receivingSince: null, rev: 0, epoch: 0, named: null, startedSerial: 0 }
    : parse(path, text);
  if (memory.db !== owner.db || memory.member !== owner.member) {
    throw new AppError('conflict', `this volume holds the data of ${memory.member} of the database ${memory.db}`, {
      hint: `give ${owner.member} an empty volume; nothing in this one was touched`,
    });
  }

  let last: Promise<unknown> = Promise.resolve();

  /** One after another, each from what the one before has left: a write that is slow, or that nobody waits for any more, undoes no later one. */
  function write(change: (present: MemberMemory) => Partial<MemberMemory> | undefined): Promise<void> {
    const mine = last.then(async () => {
      const changes = change(memory);
      if (changes === undefined) return;
      const next = { ...memory, ...changes };
      await failpoints.at('disk:before');
      await writeFileAtomic(path, `${JSON.stringify(next)}\n`);
      memory = next;
      await failpoints.at('disk:after');
    });
    last = mine.catch(() => undefined);
    return mine;
  }

  return {
    isNew,
    now: () => memory,
    claim: () => write(() => ({})),
    raise: ({ rev, epoch, leader, sync, prev, state }) =>
      write((present) => {
        const isNewest = rev >= present.rev && epoch >= present.epoch;
        const isKnown = rev <= present.rev && epoch <= present.epoch && (present.named !== null || !isNewest);
        if (isKnown) return undefined;
        const highest = { rev: Math.max(rev, present.rev), epoch: Math.max(epoch, present.epoch) };
        return isNewest ? { ...highest, named: { leader, sync, prev, state } } : highest;
      }),
    // A leader has everything on its disk, also one that an operator wrote down by hand.
    markMaster: (was) =>
      write(({ wasMaster, receivingSince }) => {
        if (was) return wasMaster && receivingSince === null ? undefined : { wasMaster: true, receivingSince: null };
        return wasMaster ? { wasMaster: false } : undefined;
      }),
    noteReceiving: () => write(({ receivingSince }) => (receivingSince === kernel ? undefined : { receivingSince: kernel })),
    noteWhole: () => write(({ receivingSince }) => (receivingSince === null ? undefined : { receivingSince: null })),
    lostMemory: () => memory.receivingSince !== null && memory.receivingSince !== kernel,
    noteStart: (serial) => write(({ startedSerial }) => (startedSerial === serial ? undefined : { startedSerial: serial })),
    async beginGeneration() {
      const gen = randomUUID();
      await write(() => ({ gen, wasMaster: false, receivingSince: null }));
      return gen;
    },
    async renewGeneration() {
      const gen = randomUUID();
      await write(() => ({ gen, receivingSince: null }));
      return gen;
    },
    endGeneration: () => write(() => ({ gen: null, wasMaster: false, receivingSince: null })),
  };
}

function parse(path: string, text: string): MemberMemory {
  try {
    return MemberMemory.parse(JSON.parse(text));
  } catch (cause) {
    throw new AppError('internal', `${path} is damaged: ${messageOf(cause)}`, {
      hint: 'nothing is started from a volume whose memory is lost; see docs/runbook.md',
      cause,
    });
  }
}
