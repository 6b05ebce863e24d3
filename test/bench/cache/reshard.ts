import { sleep } from '#core/sleep.ts';
import type { ClusterLab } from '../../appliance/xcache-cluster-lab.ts';
import type { Plan, Row, Say } from '../figure.ts';
import { spread, tell } from '../stats.ts';
import { startWriters, type Writers } from './writers.ts';

const SHARDS = { before: 3, after: 4 };
const CLIENTS = 4;
const WRITERS_EACH = 4;
/** Keys of each writer, and bytes of a value: what is moved is about a quarter of all that. */
const KEYS_EACH = 5000;
const VALUE_BYTES = 200;
/** Seconds of the windows beside a move. */
const WINDOW_SECONDS = 5;

interface Move {
  what: string;
  ratio: number;
  seconds: number;
  before: number;
  during: number;
}

/** A cluster gets a shard more, and loses it again, while clients write as fast as they can. What they write meanwhile is held against what the same ones wrote just before. */
export async function reshard(lab: ClusterLab, { reshards }: Plan, say: Say): Promise<Row[]> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => lab.client()));
  const writers = startWriters({ clients, each: WRITERS_EACH, prefix: 'reshard', ring: KEYS_EACH, valueBytes: VALUE_BYTES });
  const moves: Move[] = [];
  let missing: string[] = [];
  try {
    // Every key is there.
    while (writers.acked < 1.5 * CLIENTS * WRITERS_EACH * KEYS_EACH) await sleep(100);
    for (let turn = 1; turn <= reshards; turn += 1) {
      for (const shards of [SHARDS.after, SHARDS.before]) {
        const move = await one(lab, writers, shards);
        moves.push(move);
        say(`${move.what} in ${move.seconds.toFixed(1)} s: ${tellRates(move)}, ${writers.failures.length} commands failed so far`);
      }
    }
    missing = await writers.missing(clients[0]!);
  } finally {
    await writers.stop();
    for (const client of clients) client.disconnect();
  }
  for (const text of new Set(writers.failures)) say(`failed: ${text}`);
  const ratio = spread(moves.map((move) => move.ratio));
  const count = `${moves.length} times 4096 slots to or from a fourth shard, ${CLIENTS * WRITERS_EACH} writers`;
  return [
    {
      figure: `reshard: failed commands, ${count}`,
      bar: '0',
      measured: `${writers.failures.length} of ${writers.tried}, ${missing.length} keys lost`,
      met: writers.failures.length === 0 && missing.length === 0,
      values: { failed: writers.failures.length, tried: writers.tried, missing: missing.length },
    },
    {
      figure: 'reshard: throughput meanwhile ÷ of the same clients just before',
      bar: '≥ 0.8',
      measured: `${tell(ratio, 2)}; each took ${tell(spread(moves.map(({ seconds }) => seconds)), 1, ' s')}`,
      met: ratio.median >= 0.8,
      values: { ...ratio, times: moves.length, secondsMax: Math.max(...moves.map(({ seconds }) => seconds)) },
    },
  ];
}

async function one(lab: ClusterLab, writers: Writers, shards: number): Promise<Move> {
  const rate = meter(writers);
  await sleep(WINDOW_SECONDS * 1000);
  const before = rate();
  await lab.scale(shards);
  await lab.becomes('slots move', ({ progress }) => progress !== undefined, 60_000);
  const began = performance.now();
  rate();
  const isLess = shards === SHARDS.before;
  if (isLess) await lab.becomes('the last shard is empty', ({ emptied }) => emptied.includes(shards), 300_000);
  else await lab.whole(shards, 300_000);
  const seconds = (performance.now() - began) / 1000;
  const during = rate();
  if (isLess) {
    const gone = lab.lab.spec.members.length;
    await lab.remove(...(await lastMembers(lab, gone)));
    await lab.whole(shards);
  }
  return { what: isLess ? 'shrinks' : 'grows', ratio: during / before, seconds, before, during };
}

/** Those that were added: their numbers go on where the first ones' end. */
async function lastMembers(lab: ClusterLab, first: number): Promise<string[]> {
  const number = (id: string) => Number(id.slice(id.lastIndexOf('-') + 1));
  return [...(await lab.addresses()).keys()].filter((id) => number(id) > first);
}

/** Acknowledged a second, since the last call. */
function meter(writers: Writers): () => number {
  let last = { at: performance.now(), acked: writers.acked };
  return () => {
    const now = { at: performance.now(), acked: writers.acked };
    const perSecond = ((now.acked - last.acked) * 1000) / (now.at - last.at);
    last = now;
    return perSecond;
  };
}

const tellRates = ({ before, during, ratio }: Move) =>
  `${Math.round(during)}/s against ${Math.round(before)}/s before, ${ratio.toFixed(2)} ×`;
