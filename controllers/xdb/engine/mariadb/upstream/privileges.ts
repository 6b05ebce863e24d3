import type { UpstreamFacts } from '#xdb/engine/engine.ts';

/** What an account needs on a server for its databases to be copied and followed: any of several words each, as servers of different ages call it. */
const NEEDED: Record<UpstreamFacts['flavor'], readonly (readonly string[])[]> = {
  mariadb: [
    ['REPLICATION SLAVE', 'REPLICATION REPLICA'],
    ['BINLOG MONITOR', 'REPLICATION CLIENT'],
    ['SELECT'],
    ['SHOW VIEW'],
    ['TRIGGER'],
    ['EVENT'],
  ],
  // RELOAD: the moment of the copy can be told under a lock only.
  mysql: [['REPLICATION SLAVE'], ['REPLICATION CLIENT'], ['RELOAD', 'FLUSH_TABLES'], ['SELECT'], ['SHOW VIEW'], ['TRIGGER'], ['EVENT']],
};

/** Pure. @param grants lines of SHOW GRANTS @returns the privileges on everything (`*.*`) that are not among them */
export function missingPrivileges(grants: readonly string[], flavor: UpstreamFacts['flavor']): string[] {
  const has = new Set(
    grants.flatMap((line) => {
      const words = /^GRANT (.*?) ON \*\.\* TO /is.exec(line)?.[1];
      return words === undefined ? [] : words.split(',').map((word) => word.trim().toUpperCase());
    }),
  );
  if (has.has('ALL PRIVILEGES') || has.has('ALL')) return [];
  return NEEDED[flavor].filter((words) => !words.some((word) => has.has(word))).map(([first]) => first ?? '');
}
