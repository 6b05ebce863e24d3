import type { ServiceStep } from '#pool/service-plan.ts';

/** A step of a plan in two words, for tests. */
export function sayStep(step: ServiceStep | { do: 'restart'; member: string }): string {
  switch (step.do) {
    case 'place':
      return `place ${step.members.join(' ')}`;
    case 'grow':
      return step.shard === undefined ? step.do : `grow ${step.shard}`;
    case 'forget':
      return step.do;
    case 'switchover':
      return `switchover ${step.target}`;
    case 'ensure':
      return `${step.replaces ? 'replace' : 'ensure'} ${step.member}`;
    case 'remove':
      return `${step.forGood ? 'purge' : 'stop'} ${step.member}`;
    default:
      return `${step.do} ${step.member}`;
  }
}
