import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Pool, startPool } from '#test/xcaas.ts';
import { SLOTS } from '#xcache/cluster/slots.ts';
import { measured, until } from '../pool/lb-pool.ts';

/** A cluster of real engines that is filled and grows by itself. How it decides is tried with its simulator in the unit tests; this is that it comes true. */
let pool: Pool;
beforeAll(async () => {
  pool = await startPool({ verbose: process.env.XCAAS_VERBOSE !== undefined });
}, 400_000);
afterAll(() => pool?.stop());

interface Member {
  role: string;
  group: string;
  usedBytes: number | null;
  maxBytes: number | null;
}
/** Keys of one tag share a slot: this many, as evenly over the slots as masters are. */
const TAGS = Array.from({ length: 45 }, (_, i) => tagAt(Math.floor(((i + 0.5) * SLOTS) / 45), SLOTS / 90));
const status = () => pool.json<{ status: string; members: Member[] }>(['cache', 'status', 'grown']);
const masters = async () => (await status()).members.filter(({ role }) => role === 'master');

async function connect(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await pool.cli(['cache', 'connect', 'grown', ...words]);
  expect({ code, stderr }, words.join(' ')).toEqual({ code: 0, stderr: '' });
  return stdout.trim();
}

/** What 64 KiB take in memory: the next size that its allocator has. */
const VALUE_BYTES = 80 * 1024;
const fill = (tag: string, keys: number) =>
  connect('eval', `for i = 1, ${keys} do redis.call('SETRANGE', KEYS[1] .. i, 65535, 'x') end return ${keys}`, '1', `{${tag}}:`);
const count = (tag: string, keys: number) => connect('exists', ...Array.from({ length: keys }, (_, i) => `{${tag}}:${i + 1}`));

function tagAt(slot: number, within: number): string {
  for (let n = 0; ; n++) if (Math.abs(slotOf(`t${n}`) - slot) < within) return `t${n}`;
}

/** CRC16 (XMODEM) modulo the slots: the cluster specification of Redis, "Key distribution model". */
function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % SLOTS;
}

describe('a cluster that may grow by itself', { timeout: 600_000 }, () => {
  it('does so once it was four fifths full for a minute, says why, and loses nothing', async () => {
    const options = ['autoscale=on', 'max-shards=5', 'maxmemory-policy=noeviction'].flatMap((option) => ['--opt', option]);
    await pool.json(['cache', 'create', '--mode', 'cluster', '--memory', '256m', ...options, 'grown'], { timeoutMs: 120_000 });
    const given = (await masters()).reduce((sum, { maxBytes }) => sum + (maxBytes ?? Number.NaN), 0);
    const keys = Math.floor((0.85 * given) / TAGS.length / VALUE_BYTES);
    for (const tag of TAGS) expect(await fill(tag, keys)).toBe(String(keys));
    const { ms } = await until('it has five shards', 300, async () => {
      const now = await status();
      return now.status === 'READY' && now.members.length === 10 ? true : undefined;
    });
    measured('full to grown', ms);

    const grown = await masters();
    expect(grown).toHaveLength(5);
    // No group has a majority of them.
    for (const { group } of grown) expect(grown.filter((other) => other.group === group).length).toBeLessThan(3);
    const events = await pool.json<{ reason: string; sentence: string }[]>(['cache', 'events', 'grown']);
    const sentences = events.filter(({ reason }) => reason === 'grows').map(({ sentence }) => sentence);
    process.stderr.write(`  ${sentences.join('\n  ')}\n`);
    expect(sentences).toEqual([expect.stringMatching(/^grown: .* from 3 to 5 shards$/)]);
    for (const tag of TAGS) expect([tag, await count(tag, keys)]).toEqual([tag, String(keys)]);
    await until('each has room again', 60, async () =>
      (await masters()).every(({ usedBytes, maxBytes }) => (usedBytes ?? 1) / (maxBytes ?? 1) < 0.7) ? true : undefined,
    );
  });
});
