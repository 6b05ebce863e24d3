import { OWN_SCHEMA } from '../names.ts';

/** Schemas of a server that are nobody's data. */
export const SYSTEM_SCHEMAS = ['mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo', OWN_SCHEMA];

/** For a statement. */
export const SYSTEM_LIST = SYSTEM_SCHEMAS.map((name) => `'${name}'`).join(', ');

/** What an outside master writes there is not ours: its accounts may have rights that go past read-only. */
export const IGNORED_TABLES = `mysql.%,sys.%,${OWN_SCHEMA}.%`;
