import { describe, expect, it } from 'vitest';
import { missingPrivileges } from './privileges.ts';

const FULL = "GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR, SHOW VIEW, EVENT, TRIGGER ON *.* TO `mig`@`%` IDENTIFIED BY PASSWORD '*D8'";

describe('missingPrivileges', () => {
  it('takes what suffices, by the words of either age', () => {
    expect(missingPrivileges([FULL], 'mariadb')).toEqual([]);
    expect(missingPrivileges([FULL.replace('BINLOG MONITOR', 'REPLICATION CLIENT')], 'mariadb')).toEqual([]);
    expect(missingPrivileges(['GRANT ALL PRIVILEGES ON *.* TO `root`@`%`'], 'mysql')).toEqual([]);
  });

  it('names what is missing; rights on one database do not count', () => {
    expect(missingPrivileges(['GRANT USAGE ON *.* TO `a`@`%`', 'GRANT ALL PRIVILEGES ON `shop`.* TO `a`@`%`'], 'mariadb')).toEqual([
      'REPLICATION SLAVE',
      'BINLOG MONITOR',
      'SELECT',
      'SHOW VIEW',
      'TRIGGER',
      'EVENT',
    ]);
    expect(missingPrivileges([FULL.replace('BINLOG MONITOR', 'REPLICATION CLIENT')], 'mysql')).toEqual(['RELOAD']);
    const two = [
      'GRANT SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT, SHOW VIEW, EVENT ON *.* TO `a`@`%`',
      'GRANT BACKUP_ADMIN ON *.* TO `a`@`%`',
    ];
    expect(missingPrivileges(two, 'mysql')).toEqual(['TRIGGER']);
  });
});
