import { parseHealth, type ServiceHealth } from '#core/consul/client.ts';
import type { ConsulAnswer } from '#core/consul/transport.ts';

/**
 * Reads answers of `/v1/health/service/…` one after another, and of each only the entries that were not in the one before. With 1,000 instances an
 * answer is a megabyte in which one kilobyte is new: to parse it whole is most of what a change costs, in time and in memory.
 *
 * @returns entries that have not changed are the same objects as before
 */
export function createHealthReader(): (answer: Pick<ConsulAnswer, 'text' | 'body'>) => ServiceHealth[] {
  const known = new Map<string, { entry: ServiceHealth; turn: number }>();
  let turn = 0;
  return (answer) => {
    const texts = entriesOf(answer.text);
    if (texts === undefined) return parseHealth(answer.body);
    turn += 1;
    const health: ServiceHealth[] = [];
    for (const text of texts) {
      let found = known.get(text);
      if (found === undefined) {
        const entry = parseEntry(text);
        // What is wrong with it is for the whole answer to say.
        if (entry === undefined) return parseHealth(answer.body);
        found = { entry, turn };
        known.set(copyOf(text), found);
      }
      found.turn = turn;
      health.push(found.entry);
    }
    if (known.size > health.length) for (const [text, { turn: seen }] of known) if (seen !== turn) known.delete(text);
    return health;
  };
}

function parseEntry(text: string): ServiceHealth | undefined {
  try {
    return parseHealth([JSON.parse(`{"Node":{${text}}`)])[0];
  } catch {
    return undefined;
  }
}

/** V8 keeps a piece of a long text as a reference to it: kept for itself it would hold the whole answer. */
function copyOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

/**
 * Between two entries of Consul's answer, and nowhere else in it: in a string the quotes would be escaped, and within an entry only checks begin with
 * a node, which is a string there.
 */
const BETWEEN = '},{"Node":{';

/** The entries without what is the same at the begin and end of all; undefined for an answer of another form, such as one with line breaks. */
function entriesOf(text: string): string[] | undefined {
  const whole = text.trim();
  if (!whole.startsWith('[{"Node":{') || !whole.endsWith('}]')) return undefined;
  return whole.slice('[{"Node":{'.length, -'}]'.length).split(BETWEEN);
}
