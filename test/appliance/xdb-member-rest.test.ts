import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '#core/sleep.ts';
import { eventually, startXdbLab, type XdbLab, type XdbMember } from '#test/xdb-lab.ts';
import { use } from '../bench/db/pair.ts';

let lab: XdbLab;
let members: XdbMember[];
beforeAll(async () => {
  lab = await startXdbLab();
  members = [await lab.member('adb-1'), await lab.member('adb-2')];
  await eventually('the pair is in sync', async () => (await lab.sync())?.sync?.id === 'adb-2');
});
afterAll(() => lab?.stop());

/** `./xcaas bench db` holds it to 1 % of a core on a machine that does nothing else. */
const SHARE = 0.03;
const RSS = 90e6;

describe('the sidecars of a pair at rest', () => {
  it('come to take less than 90 MB each, and next to no time', async () => {
    let seen: { rss: number; share: number }[] = [];
    // What the start has used is given back by and by.
    await eventually(
      'less than 90 MB each',
      async () => {
        await sleep(1000);
        seen = await Promise.all(members.map((member) => use(member, 15)));
        const text = seen.map(({ rss, share }) => `${(rss / 1e6).toFixed(1)} MB, ${(share * 100).toFixed(2)} %`).join('; ');
        console.log(text);
        return seen.every(({ rss }) => rss < RSS) || text;
      },
      100_000,
    );
    for (const { rss, share } of seen) {
      expect(rss).toBeGreaterThan(20e6);
      expect(share).toBeLessThan(SHARE);
    }
  });
});
