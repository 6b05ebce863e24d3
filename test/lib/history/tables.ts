/** What the clients write. Names are those of this suite only. */
export const TABLES = {
  /** One row a part of a transaction, without a unique key of its own: a transaction applied twice leaves rows twice. */
  rows: 'history_rows',
  /** One row a transaction, by a unique key. */
  keys: 'history_keys',
  /** One row a worker: its last transaction and how many there were. */
  chains: 'history_chains',
} as const;

export const CREATE_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS ${TABLES.rows} (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    client VARCHAR(40) CHARACTER SET ascii NOT NULL, worker INT NOT NULL, seq INT NOT NULL, part INT NOT NULL, parts INT NOT NULL,
    round INT NOT NULL, server INT NULL, epoch INT NULL, filler MEDIUMBLOB NOT NULL,
    KEY by_round (round), KEY by_transaction (client, worker, seq)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS ${TABLES.keys} (
    client VARCHAR(40) CHARACTER SET ascii NOT NULL, worker INT NOT NULL, seq INT NOT NULL, round INT NOT NULL,
    PRIMARY KEY (client, worker, seq), KEY by_round (round)
  ) ENGINE=InnoDB`,
  `CREATE TABLE IF NOT EXISTS ${TABLES.chains} (
    client VARCHAR(40) CHARACTER SET ascii NOT NULL, worker INT NOT NULL, seq INT NOT NULL, n INT NOT NULL,
    PRIMARY KEY (client, worker)
  ) ENGINE=InnoDB`,
];
