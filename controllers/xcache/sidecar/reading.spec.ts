import { expect, it } from 'vitest';
import { createReading } from './reading.ts';

/** Reads that end when they are told to. */
function slow() {
  const ends: (() => void)[] = [];
  const seen = { begun: 0, late: 0 };
  const reading = createReading(
    () => {
      seen.begun += 1;
      return new Promise((resolve) => ends.push(resolve));
    },
    () => {
      seen.late += 1;
    },
  );
  return { reading, seen, end: () => ends.shift()?.() };
}

it('waits for a read that answers in time, and tells nobody of it', async () => {
  const { reading, seen, end } = slow();
  const turn = reading.turn(60_000);
  end();
  await turn;
  expect(seen).toEqual({ begun: 1, late: 0 });
});

it('does not hold up the turns of a member that Consul does not answer', async () => {
  const { reading, seen, end } = slow();
  await reading.turn(1);
  // Not begun a second time, and not waited for.
  await reading.turn(60_000);
  expect(seen).toEqual({ begun: 1, late: 0 });
  end();
  await new Promise((resolve) => setTimeout(resolve));
  expect(seen).toEqual({ begun: 1, late: 1 });
  const next = reading.turn(60_000);
  end();
  await next;
  expect(seen).toEqual({ begun: 2, late: 1 });
});
