import { beforeAll, describe, expect, it } from 'vitest';
import { importBundled } from '#xdb/protocol/model/bundle.mjs';
import { MUTATIONS } from '#xdb/protocol/model/mutations.ts';

/** A part of `./xcaas test model`, small enough for each change; docs/xdb-protocol.md has what all of it found. */
type Short = typeof import('#xdb/protocol/model/short.ts');
let short: Short;
/** Seconds of work, on a machine that may be busy with anything. */
const HOOK_MS = 300_000;
beforeAll(async () => {
  short = (await importBundled('short')) as Short;
}, HOOK_MS);

describe('the protocol, with one transaction live at once', () => {
  let found: ReturnType<Short['whole']>;
  beforeAll(() => {
    found = short.whole();
  }, HOOK_MS);

  it('keeps what it promises in every state that can be reached', () => {
    expect(found.broken).toBe('');
    expect(found.complete).toBe(true);
    // Fewer would mean that the world has lost something that can happen.
    expect(found.states).toBeGreaterThan(900_000);
  });

  it('has a way back to a whole pair from each of them, without a further fault', () => {
    expect(found.recovery).toMatchObject({ stuck: 0, lost: 0 });
    expect(found.recovery?.whole).toBeGreaterThan(0);
  });

  it('was asked about every situation of a member that the search met', () => {
    expect(found.situations).toBeGreaterThan(300);
  });
});

describe('a guard left out', () => {
  for (const mutation of MUTATIONS.filter(({ slow }) => slow !== true)) {
    it(`is missed: ${mutation.rule}`, () => {
      expect(short.without(mutation)?.what).toMatch(/^I\d: /);
    });
  }

  it('shows the way to what it breaks', () => {
    const found = short.without({ off: ['recordBeforeAsync'], rule: 'F1' });
    expect(found?.way[1]).toContain('A a client writes');
    expect(found).toMatchObject({ what: expect.stringContaining('I2'), label: 'semi-sync off', steps: 3 });
  });
});
