import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import { MemberSpec } from '#pool/member.ts';

const StoredMember = z.object({
  v: z.literal(1),
  spec: MemberSpec,
  /** True after a stop through the system: the agent leaves it stopped until control says otherwise. */
  stopped: z.boolean().default(false),
});
export type StoredMember = z.infer<typeof StoredMember>;

/** What belongs on this host, kept so that it can be started after a boot with control dead. */
export interface MemberStore {
  put(member: Omit<StoredMember, 'v'>): Promise<void>;
  get(id: string): Promise<StoredMember | undefined>;
  remove(id: string): Promise<void>;
  /** Files that cannot be understood are left out and named in `damaged`. */
  list(): Promise<{ members: StoredMember[]; damaged: string[] }>;
}

export async function openMemberStore(folder: string): Promise<MemberStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = (id: string) => join(folder, `${id}.json`);
  const read = async (file: string): Promise<StoredMember | 'damaged' | undefined> => {
    const text = await readIfThere(file);
    if (text === undefined) return undefined;
    try {
      return StoredMember.parse(JSON.parse(text));
    } catch {
      return 'damaged';
    }
  };
  return {
    async put({ spec, stopped }) {
      await writeFileAtomic(path(spec.id), JSON.stringify({ v: 1, spec, stopped }));
    },
    async get(id) {
      const member = await read(path(id));
      return member === 'damaged' ? undefined : member;
    },
    async remove(id) {
      await rm(path(id), { force: true });
    },
    async list() {
      const members: StoredMember[] = [];
      const damaged: string[] = [];
      for (const file of (await readdir(folder)).filter((name) => name.endsWith('.json')).sort()) {
        const member = await read(join(folder, file));
        if (member === 'damaged') damaged.push(file);
        else if (member !== undefined) members.push(member);
      }
      return { members, damaged };
    },
  };
}
