import { AppError } from '#core/errors.ts';
import type { UpstreamFacts } from '#xdb/engine/engine.ts';

/** Oldest and newest servers that can be followed, by major and minor version. An older slave does not understand what a newer master writes. */
const RANGE: Record<UpstreamFacts['flavor'], { from: [number, number]; to: [number, number] }> = {
  mariadb: { from: [10, 2], to: [11, 8] },
  mysql: { from: [5, 7], to: [9, 7] },
};
const NAMES: Record<UpstreamFacts['flavor'], string> = { mariadb: 'MariaDB', mysql: 'MySQL' };

/**
 * Pure: whether a server can be a master, before anything is copied.
 *
 * @param serverIds of members that there are or will be soon
 * @param tls the connection has to be encrypted
 * @throws AppError `invalid` or `forbidden` for the first that speaks against it, with what mends it
 */
export function refuseUnfitMaster(
  facts: UpstreamFacts,
  { where, serverIds, tls }: { where: string; serverIds: readonly number[]; tls: boolean },
): void {
  const name = `${NAMES[facts.flavor]} ${facts.version}`;
  const no = (message: string, hint: string) => {
    throw new AppError('invalid', message, { hint });
  };
  const version = versionOf(facts.version);
  const { from, to } = RANGE[facts.flavor];
  const show = ([major, minor]: [number, number]) => `${major}.${minor}`;
  if (version === undefined || isLess(version, from) || isLess(to, version)) {
    no(`${where} is ${name}, which cannot be followed`, `a master is ${NAMES[facts.flavor]} ${show(from)} to ${show(to)}`);
  }
  if (tls && !facts.tls) no(`${where} offers no encrypted connections`, 'set them up there, or use --opt master-tls=off');
  if (facts.missing.length > 0) {
    throw new AppError('forbidden', `the account at ${where} lacks ${facts.missing.join(', ')}`, {
      hint: `GRANT ${facts.missing.join(', ')} ON *.* TO it, there`,
    });
  }
  if (!facts.binlog) no(`${where} has no binlog (log_bin=OFF): it cannot be followed`, 'start it with log_bin, then try again');
  if (facts.binlogFormat === 'STATEMENT') {
    no(
      `${where} writes statements to its binlog (binlog_format=STATEMENT): a copy could come to differ`,
      'SET GLOBAL binlog_format = ROW there',
    );
  }
  if (facts.unreadable.length > 0) {
    no(`${where} has ${facts.unreadable.join(' and ')}: MariaDB cannot read that`, 'set it back to its default there');
  }
  if (serverIds.includes(facts.serverId) || facts.serverId === 0) {
    no(
      `${where} has server_id=${facts.serverId}${facts.serverId === 0 ? '' : ', as a member of this database would have'}`,
      `SET GLOBAL server_id to another number there${facts.serverId === 0 ? '' : ', or choose another name'}`,
    );
  }
  if (facts.lowerCaseTables !== '0') {
    no(
      `${where} has lower_case_table_names=${facts.lowerCaseTables}, and databases here have 0`,
      'its tables would not be found under their names',
    );
  }
  if (facts.databases.length === 0)
    no(`${where} holds no database`, 'CREATE DATABASE there first; or make an empty one here without role=slave');
  if (facts.otherEngines.length > 0) {
    no(
      `${where} has tables that are not InnoDB: ${few(facts.otherEngines)}`,
      'ALTER TABLE ... ENGINE=InnoDB there; only transactions survive a failover whole',
    );
  }
  if (facts.unreadableTables.length > 0) {
    no(`${where} has columns that MariaDB cannot read from a MySQL binlog: ${few(facts.unreadableTables)}`, 'make them TEXT there');
  }
}

function few(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and more`;
}

function versionOf(text: string): [number, number] | undefined {
  const match = /^(\d+)\.(\d+)/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

function isLess(a: [number, number], b: [number, number]): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}
