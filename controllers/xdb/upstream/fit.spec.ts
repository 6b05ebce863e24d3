import { describe, expect, it } from 'vitest';
import type { UpstreamFacts } from '#xdb/engine/engine.ts';
import { refuseUnfitMaster } from './fit.ts';

const good: UpstreamFacts = {
  flavor: 'mariadb',
  version: '10.11.14-MariaDB-0+deb12u2-log',
  serverId: 1,
  binlog: true,
  binlogFormat: 'MIXED',
  unreadable: [],
  tls: false,
  readOnly: false,
  lowerCaseTables: '0',
  missing: [],
  databases: ['shop'],
  otherEngines: [],
  unreadableTables: [],
};
const about = { where: 'old:3306', serverIds: [77, 78], tls: false };

describe('refuseUnfitMaster', () => {
  it('takes what can be followed', () => {
    for (const change of [
      {},
      { tls: true },
      { flavor: 'mysql', version: '8.0.36-28' },
      { version: '11.8.6-MariaDB' },
      { binlogFormat: 'ROW' },
    ] as const)
      expect(() => refuseUnfitMaster({ ...good, ...change }, about)).not.toThrow();
  });

  it.each<[string, Partial<UpstreamFacts>, string, RegExp, RegExp]>([
    ['no binlog', { binlog: false }, 'invalid', /old:3306 has no binlog/, /log_bin/],
    ['a newer server', { version: '12.3.1-MariaDB' }, 'invalid', /12\.3\.1.*cannot be followed/, /10\.2 to 11\.8/],
    ['an older server', { version: '5.5.68-MariaDB' }, 'invalid', /5\.5\.68/, /10\.2/],
    ['an older MySQL', { flavor: 'mysql', version: '5.6.51' }, 'invalid', /MySQL 5\.6\.51/, /5\.7/],
    ['a word that is no version', { version: 'proxy' }, 'invalid', /proxy/, /10\.2/],
    [
      'missing rights',
      { missing: ['REPLICATION SLAVE', 'EVENT'] },
      'forbidden',
      /lacks REPLICATION SLAVE, EVENT/,
      /GRANT REPLICATION SLAVE, EVENT/,
    ],
    ['statements in the binlog', { binlogFormat: 'STATEMENT' }, 'invalid', /STATEMENT/, /ROW/],
    ['what MariaDB cannot read', { unreadable: ['binlog_transaction_compression=ON'] }, 'invalid', /compression/, /default/],
    ['the number of a member', { serverId: 78 }, 'invalid', /server_id=78/, /another number/],
    ['no number', { serverId: 0 }, 'invalid', /server_id=0/, /another number/],
    ['names in lower case', { lowerCaseTables: '1' }, 'invalid', /lower_case_table_names=1/, /names/],
    ['nothing to copy', { databases: [] }, 'invalid', /no database/, /CREATE DATABASE/],
    ['other storage engines', { otherEngines: ['a.b (MyISAM)', 'c', 'd', 'e'] }, 'invalid', /a\.b \(MyISAM\), c, d and more/, /InnoDB/],
    ['JSON of MySQL', { unreadableTables: ['a.b (json)'] }, 'invalid', /a\.b \(json\)/, /TEXT/],
  ])('refuses %s, with what mends it', (_, change, code, message, hint) => {
    expect(() => refuseUnfitMaster({ ...good, ...change }, about)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message), hint: expect.stringMatching(hint) }),
    );
  });

  it('refuses a connection that would not be encrypted where one is asked for', () => {
    expect(() => refuseUnfitMaster(good, { ...about, tls: true })).toThrow(/no encrypted/);
  });
});
