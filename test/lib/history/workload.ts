import type { Random } from '../random.ts';

/** What a transaction writes. */
export interface Shape {
  /** One statement that commits by itself, in place of BEGIN … COMMIT. */
  autocommit: boolean;
  /** Bytes of filler of each row. */
  rows: number[];
}

/** Mostly small, some of many rows, a few of much text: sizes that fill one network packet, several, and a group commit. */
export function nextShape(random: Random): Shape {
  const kind = random.next();
  const small = () => random.between(0, 200);
  if (kind < 0.15) return { autocommit: true, rows: [small()] };
  if (kind < 0.55) return { autocommit: false, rows: [small()] };
  if (kind < 0.85) return { autocommit: false, rows: Array.from({ length: random.between(2, 12) }, small) };
  if (kind < 0.96) return { autocommit: true, rows: Array.from({ length: random.between(2, 20) }, small) };
  if (kind < 0.99) return { autocommit: false, rows: Array.from({ length: random.between(50, 200) }, small) };
  return { autocommit: false, rows: [random.between(30_000, 300_000)] };
}
