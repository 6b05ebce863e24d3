import { parseHealth, type ServiceHealth } from '#core/consul/client.ts';
import type { ConsulAnswer } from '#core/consul/transport.ts';

/**
 * Reads answers of `/v1/health/service/…` one after another, and of each only the entries that were not in the one before. With 1,000 instances an
 * answer is a megabyte in which one kilobyte is new: to parse it whole is most of what a change costs, in time and in memory.
 *
 * @returns entries that have not changed are the same objects as before
 */
export function createHealthReader(): (answer: Pick<ConsulAnswer, 'text' | 'body'>) => ServiceHealth[] {
  let known = new Map<string, ServiceHealth>();
  return (answer) => {
    const texts = entriesOf(answer.text);
    if (texts === undefined) return parseHealth(answer.body);
    const next = new Map<string, ServiceHealth>();
    const health: ServiceHealth[] = [];
    try {
      for (const text of texts) {
        const entry = known.get(text) ?? parseHealth([JSON.parse(`{"Node":{${text}}`)])[0];
        if (entry === undefined) return parseHealth(answer.body);
        next.set(text, entry);
        health.push(entry);
      }
    } catch {
      // What is wrong with it is for the whole answer to say.
      return parseHealth(answer.body);
    }
    known = next;
    return health;
  };
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
