import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';

export interface Meter {
  stream: Transform;
  bytes(): number;
  /** Hex; once, after the end. */
  sha256(): string;
}

/** Counts and hashes what passes. */
export function createMeter(): Meter {
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    stream: new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        hash.update(chunk);
        done(null, chunk);
      },
    }),
    bytes: () => bytes,
    sha256: () => hash.digest('hex'),
  };
}
