import type { EndpointSummary } from './endpoints.ts';

export interface SentenceFacts {
  member: string;
  hasSpec: boolean;
  nginxUp: boolean;
  engineUp: boolean;
  consulReachable: boolean;
  generation: string;
  wantedGeneration: string;
  rejected?: string;
  workers: number;
  pending: boolean;
  oldWorkers: number;
  summary: EndpointSummary;
  /** What else is not as it should be. */
  problems: readonly string[];
}

/** Pure: one sentence of what this member does and why; what is worst comes first. Nothing in it changes by time alone. */
export function sentenceOf(facts: SentenceFacts): string {
  const { summary } = facts;
  const parts: string[] = [];
  if (!facts.nginxUp) parts.push('nginx does not answer');
  else if (!facts.engineUp) parts.push('HAProxy does not answer');
  else if (!facts.hasSpec) parts.push(`serves generation ${facts.generation} as before, no specification has been read yet`);
  else
    parts.push(
      `serves ${plural(summary.groups, 'group')} with ${summary.up} of ${plural(summary.peers, 'peer')} up, generation ${facts.generation}`,
    );
  if (facts.rejected !== undefined) parts.push(`what was asked for is refused: ${facts.rejected}`);
  else if (facts.pending && facts.hasSpec) parts.push(pendingBecause(facts));
  if (!facts.consulReachable) parts.push('Consul cannot be reached, so the last known peers stay');
  const empty = facts.hasSpec && !facts.pending ? summary.emptyGroups : [];
  if (empty.length > 0) parts.push(`nothing to send requests of ${list(empty)} to`);
  parts.push(...summary.notes.slice(0, 3), ...facts.problems.slice(0, 2));
  if (summary.notes.length > 3) parts.push(`${summary.notes.length - 3} further troubles`);
  return `${facts.member} ${parts.join('; ')}`;
}

function pendingBecause({ generation, wantedGeneration, oldWorkers }: SentenceFacts): string {
  if (generation === wantedGeneration) return 'a change of peers is on its way';
  const old =
    oldWorkers > 0 ? `, ${plural(oldWorkers, 'worker')} of earlier ones still ${oldWorkers === 1 ? 'ends' : 'end'} connections` : '';
  return `generation ${wantedGeneration} is on its way${old}`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

function list(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}
