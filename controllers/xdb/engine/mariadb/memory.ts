/** How the memory of a member is shared out. */
export interface MemoryShares {
  bufferPoolBytes: number;
  maxConnections: number;
}

const MIB = 2 ** 20;
/** Sidecar, endpoint, and what the engine takes before it holds a page or a connection. */
const BASE = 256 * MIB;
/** A connection with its buffers, at work. */
const PER_CONNECTION = 1.5 * MIB;

/**
 * Buffer pool: 60 % of the memory, but no more than three quarters of what is left without {@link BASE}, in steps of 8 MiB and at least 32 MiB.
 * Connections: what is left then, 1.5 MiB each, between 50 and 5000. (1 GiB: 576 MiB and 128; 4 GiB: 2456 MiB and 922.)
 */
export function shareMemory(memoryBytes: number): MemoryShares {
  const wanted = Math.min(0.6 * memoryBytes, 0.75 * (memoryBytes - BASE));
  const step = 8 * MIB;
  const bufferPoolBytes = Math.max(32 * MIB, Math.floor(wanted / step) * step);
  const left = memoryBytes - BASE - bufferPoolBytes;
  return { bufferPoolBytes, maxConnections: Math.min(5000, Math.max(50, Math.floor(left / PER_CONNECTION))) };
}
