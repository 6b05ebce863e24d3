import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { AppError, messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { Failpoints } from './failpoint.ts';

const MemberMemory = z.object({
  v: z.literal(1),
  db: z.string(),
  member: z.string(),
  /** Generation of the data beside this file; null while there is none. */
  gen: z.string().min(1).nullable(),
  wasMaster: z.boolean(),
  /** Highest that this member has seen of the record (K1). */
  rev: z.number().int().min(0),
  epoch: z.number().int().min(0),
  /** Restart serial of the specification that the engine was started with. */
  startedSerial: z.number().int().min(0).default(0),
});
export type MemberMemory = z.infer<typeof MemberMemory>;

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
  /** K1: remembers the highest revision and epoch that were seen. */
  raise(rev: number, epoch: number): Promise<void>;
  markMaster(was: boolean): Promise<void>;
  /** With which restart serial of the specification the engine is being started. */
  noteStart(serial: number): Promise<void>;
  /** Names the data that was just made, whole. @returns its generation */
  beginGeneration(): Promise<string>;
  /** R2: to be called before the first file is removed. The mark of a master goes too: it was one of the data. */
  endGeneration(): Promise<void>;
}

/**
 * @throws AppError `conflict` when the volume belongs to another database or member; `internal` when the file is damaged: a member whose memory is lost
 * must not guess
 */
export async function openDisk(path: string, owner: { db: string; member: string }, failpoints: Failpoints): Promise<MemberDisk> {
  await mkdir(dirname(path), { recursive: true });
  const text = await readIfThere(path);
  const isNew = text === undefined;
  let memory: MemberMemory = isNew
    ? { v: 1, ...owner, gen: null, wasMaster: false, rev: 0, epoch: 0, startedSerial: 0 }
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
    raise: (rev, epoch) =>
      write((present) =>
        rev <= present.rev && epoch <= present.epoch
          ? undefined
          : { rev: Math.max(rev, present.rev), epoch: Math.max(epoch, present.epoch) },
      ),
    markMaster: (was) => write(({ wasMaster }) => (wasMaster === was ? undefined : { wasMaster: was })),
    noteStart: (serial) => write(({ startedSerial }) => (startedSerial === serial ? undefined : { startedSerial: serial })),
    async beginGeneration() {
      const gen = randomUUID();
      await write(() => ({ gen, wasMaster: false }));
      return gen;
    },
    endGeneration: () => write(() => ({ gen: null, wasMaster: false })),
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
