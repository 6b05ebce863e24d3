/** The wire form that clients of Valkey and Redis speak (RESP 2 and 3), as far as a Sentinel needs it. */

export type Reply =
  | { simple: string }
  | { error: string }
  | { integer: number }
  | { bulk: string | null }
  | { array: Reply[] }
  /** Pairs; an array of twice as many in RESP 2. */
  | { map: [string, Reply][] }
  /** Sent unasked; an array in RESP 2. */
  | { push: Reply[] };

export const OK: Reply = { simple: 'OK' };
export const bulk = (text: string | null): Reply => ({ bulk: text });
export const strings = (...texts: string[]): Reply => ({ array: texts.map(bulk) });

export function encode(reply: Reply, protocol: 2 | 3): string {
  if ('simple' in reply) return `+${oneLine(reply.simple)}\r\n`;
  if ('error' in reply) return `-${oneLine(reply.error)}\r\n`;
  if ('integer' in reply) return `:${reply.integer}\r\n`;
  if ('bulk' in reply) {
    if (reply.bulk === null) return protocol === 3 ? '_\r\n' : '$-1\r\n';
    return `$${Buffer.byteLength(reply.bulk)}\r\n${reply.bulk}\r\n`;
  }
  if ('array' in reply) return many('*', reply.array, protocol);
  if ('push' in reply) return many(protocol === 3 ? '>' : '*', reply.push, protocol);
  const flat = reply.map.flatMap(([key, value]) => [bulk(key), value]);
  return protocol === 3 ? `%${reply.map.length}\r\n${flat.map((one) => encode(one, 3)).join('')}` : many('*', flat, 2);
}

function many(mark: string, replies: readonly Reply[], protocol: 2 | 3): string {
  return `${mark}${replies.length}\r\n${replies.map((one) => encode(one, protocol)).join('')}`;
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]/g, ' ');
}

/** Requests are short; one that is longer is no client's. */
const MAX_BYTES = 64 * 1024;
const MAX_WORDS = 64;

/** Takes bytes as they come and gives whole requests: arrays of bulk strings, or a line of words as a person types it. */
export function createRequestReader(): (chunk: Buffer) => string[][] {
  let rest = Buffer.alloc(0);

  function line(from: number): { text: string; next: number } | undefined {
    const end = rest.indexOf('\r\n', from);
    return end < 0 ? undefined : { text: rest.toString('utf8', from, end), next: end + 2 };
  }

  /** @returns undefined while it is not whole @throws Error when it is none */
  function request(): { words: string[]; next: number } | undefined {
    const head = line(0);
    if (head === undefined) return undefined;
    if (!head.text.startsWith('*')) return { words: head.text.split(/\s+/).filter(Boolean), next: head.next };
    const count = Number(head.text.slice(1));
    if (!Number.isInteger(count) || count > MAX_WORDS) throw new Error('invalid multibulk length');
    const words: string[] = [];
    let at = head.next;
    for (let index = 0; index < count; index += 1) {
      const size = line(at);
      if (size === undefined) return undefined;
      const bytes = Number(size.text.slice(1));
      if (!size.text.startsWith('$') || !Number.isInteger(bytes) || bytes < 0 || bytes > MAX_BYTES) throw new Error('invalid bulk length');
      if (rest.length < size.next + bytes + 2) return undefined;
      words.push(rest.toString('utf8', size.next, size.next + bytes));
      at = size.next + bytes + 2;
    }
    return { words, next: at };
  }

  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const all: string[][] = [];
    for (let one = request(); one !== undefined; one = request()) {
      rest = rest.subarray(one.next);
      if (one.words.length > 0) all.push(one.words);
    }
    if (rest.length > MAX_BYTES) throw new Error('too big a request');
    return all;
  };
}
