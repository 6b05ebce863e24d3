import type { UserAdmin } from '#xdb/engine/engine.ts';
import type { MariadbEngine } from './engine.ts';
import type { Sql } from './sql.ts';
import { createDatabase, dropDatabase, dropUser, ensureUser, keepFollowers, listDatabases, listUsers } from './users.ts';

const CONNECT_MS = 2000;

/** Users and databases of one member's engine, each call on a connection of its own that is closed after it. */
export function createUserAdmin(engine: Pick<MariadbEngine, 'connectWriter'>): UserAdmin {
  async function writing<T>(action: (sql: Sql) => Promise<T>): Promise<T> {
    const sql = await engine.connectWriter({ timeoutMs: CONNECT_MS });
    try {
      return await action(sql);
    } finally {
      sql.close();
    }
  }
  return {
    keepFollowers: (passwords) => writing((sql) => keepFollowers(sql, passwords)),
    listUsers: () => writing(listUsers),
    ensureUser: (name, passwords, databases) => writing((sql) => ensureUser(sql, name, passwords, databases)),
    dropUser: (name) => writing((sql) => dropUser(sql, name)),
    listDatabases: () => writing(listDatabases),
    createDatabase: (name) => writing((sql) => createDatabase(sql, name)),
    dropDatabase: (name) => writing((sql) => dropDatabase(sql, name)),
  };
}
