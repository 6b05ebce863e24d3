import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';

const MemberMemory = z.object({ v: z.literal(1), cache: z.string(), member: z.string(), epoch: z.number().int().min(0) });

/** What a member remembers by itself: the highest epoch it ever saw. A record that is older was restored from somewhere, and is not acted upon. */
export interface MemberMemory {
  epoch(): number;
  /** On disk when it returns. */
  raise(epoch: number): Promise<void>;
}

/** @throws AppError `conflict` for the volume of another member, `internal` for a damaged file */
export async function openMemory(path: string, { cache, member }: { cache: string; member: string }): Promise<MemberMemory> {
  const text = await readIfThere(path);
  let known = 0;
  if (text !== undefined) {
    const parsed = MemberMemory.safeParse(jsonOf(text));
    if (!parsed.success)
      throw new AppError('internal', `${path} is damaged`, { hint: 'nothing is started from a volume whose memory is lost' });
    if (parsed.data.cache !== cache || parsed.data.member !== member)
      throw new AppError('conflict', `this volume belongs to ${parsed.data.member} of ${parsed.data.cache}`, {
        hint: 'give the member a volume of its own; nothing was touched',
      });
    known = parsed.data.epoch;
  }
  const write = (epoch: number) => writeFileAtomic(path, JSON.stringify({ v: 1, cache, member, epoch }));
  if (text === undefined) await write(0);
  return {
    epoch: () => known,
    async raise(epoch) {
      if (epoch <= known) return;
      await write(epoch);
      known = epoch;
    },
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
