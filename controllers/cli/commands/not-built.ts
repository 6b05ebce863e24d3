import type { Command } from '#cli/command.ts';
import { AppError } from '#core/errors.ts';

/** Verbs that the interface names and that are not built yet: each says so instead of half-working. */
const VERBS: Record<string, string[]> = {
  fs: ['create list status url ls put get mkdir rm cat stat decommission balance failover events destroy'],
};

const POOL_VERBS = ['upgrade', 'backup', 'recover'];

export const notBuiltCommands: readonly Command[] = [
  ...Object.entries(VERBS).flatMap(([kind, groups]) =>
    groups
      .join(' ')
      .split(' ')
      .map((verb) => notBuilt([kind, verb])),
  ),
  ...POOL_VERBS.map((verb) => notBuilt([verb])),
];

function notBuilt(path: string[]): Command {
  return {
    path,
    summary: 'not built yet',
    args: ['[anything...]'],
    loose: true,
    async run() {
      throw new AppError('not_implemented', `${path.join(' ')} is not built yet`, {
        hint: 'load balancers (lb), databases (db), caches (cache) and the pool (xcaas) are',
      });
    },
  };
}
