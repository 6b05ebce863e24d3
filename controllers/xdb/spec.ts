import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { showBytes } from '#pool/capacity.ts';
import type { BirthRecord } from '#pool/service-schema.ts';
import { differences, memberId, parsePublish as publishedPort, refusePortTwice, showSpec } from '#pool/service-spec.ts';
import { memberNumber } from '#pool/service-world.ts';
import { DbSpec } from '#xdb/schema.ts';

/** Pure: specifications of databases, made and compared. */

const GIB = 2 ** 30;

export const DEFAULTS = { cpus: 0, memoryBytes: GIB, diskBytes: 10 * GIB, role: 'pair', flavor: 'mariadb' } as const;

/** Engine, sidecar and endpoint together do not live on less. */
export const LEAST_MEMORY_BYTES = 512 * 2 ** 20;
export const LEAST_DISK_BYTES = GIB;

/** Ports of the endpoint that hosts may publish. */
export const ENDPOINT = { master: 3306, slave: 3307 } as const;

/** Databases and users that an engine or this system has for itself. */
const RESERVED = new Set([
  ...['mysql', 'sys', 'information_schema', 'performance_schema', 'test', 'xcaas'],
  ...['root', 'mariadb_sys', 'public', 'all', 'none'],
]);

export type NewDb = Pick<DbSpec, 'name' | 'network'> &
  Partial<
    Pick<
      DbSpec,
      | 'role'
      | 'flavor'
      | 'image'
      | 'imageId'
      | 'cpus'
      | 'memoryBytes'
      | 'diskBytes'
      | 'publish'
      | 'labels'
      | 'parameters'
      | 'replaceAfterSeconds'
      | 'created'
      | 'upstream'
      | 'origin'
      | 'database'
      | 'user'
    >
  >;

/** @throws AppError `invalid` naming the first field that cannot be */
export function newSpec(fields: NewDb): DbSpec {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const word = wordFor(fields.name);
  const role = fields.role ?? DEFAULTS.role;
  const count = role === 'pair' ? 2 : 1;
  const members = Array.from({ length: count }, (_, index) => ({ id: memberId(fields.name, index + 1), role: 'member', delaySeconds: 0 }));
  const spec = validate(
    DbSpec,
    { v: 1, ...DEFAULTS, database: word, user: word.slice(0, 32).replace(/_+$/, ''), ...given, members, lastMember: count },
    `the database ${fields.name}`,
  );
  refuseUnfit(spec);
  return spec;
}

/** @throws AppError `invalid` for sizes or ports that no database can have */
export function refuseUnfit(spec: DbSpec): void {
  if (spec.memoryBytes < LEAST_MEMORY_BYTES) {
    throw new AppError('invalid', `${showBytes(spec.memoryBytes)} of memory are too little for a member`, {
      hint: `give at least --memory ${showBytes(LEAST_MEMORY_BYTES).replace(' MiB', 'm')}; a plain number is GiB`,
    });
  }
  if (spec.diskBytes < LEAST_DISK_BYTES) {
    throw new AppError('invalid', `${showBytes(spec.diskBytes)} of disk are too little for a member`, {
      hint: 'give at least --disk 1; a plain number is GiB',
    });
  }
  refusePortTwice(spec);
}

/** `PORT` publishes the master, `PORT:3307` the slave. @throws AppError `usage` */
export function parsePublish(text: string): DbSpec['publish'][number] {
  const hint = `write PORT for the master, or PORT:${ENDPOINT.slave} for the slave`;
  return publishedPort(text, { what: 'a database', ports: [ENDPOINT.master, ENDPOINT.slave], hint });
}

export function memberIds(spec: Pick<DbSpec, 'members'>): string[] {
  return spec.members.map(({ id }) => id);
}

/** Who may lead or be the slave: all but read replicas. */
export function fullMembers(spec: Pick<DbSpec, 'members'>): string[] {
  return spec.members.filter(({ role }) => role === 'member').map(({ id }) => id);
}

/** Pure: one member more, and its id. */
export function withMember(spec: DbSpec, role: DbSpec['members'][number]['role'], delaySeconds = 0): { spec: DbSpec; id: string } {
  const number = Math.max(spec.lastMember, ...spec.members.map(({ id }) => memberNumber(id))) + 1;
  const id = memberId(spec.name, number);
  return { id, spec: { ...spec, lastMember: number, members: [...spec.members, { id, role, delaySeconds }] } };
}

export function withoutMember(spec: DbSpec, member: string): DbSpec {
  return { ...spec, members: spec.members.filter(({ id }) => id !== member) };
}

export function newBirth(spec: DbSpec): BirthRecord {
  const [first] = spec.members;
  if (first === undefined) throw new AppError('internal', `${spec.name} has no member`);
  return { v: 1, member: first.id, done: false };
}

/** What differs between two specifications in what `db create` sets, as `memory: 4 GiB instead of 2 GiB`; empty = the same. */
export function difference(present: DbSpec, asked: DbSpec): string[] {
  const view = (spec: DbSpec) => ({
    role: spec.role,
    flavor: spec.flavor,
    ...showSpec(spec, ENDPOINT.master),
    master: spec.upstream === undefined ? 'none' : `${spec.upstream.host}:${spec.upstream.port}`,
  });
  return differences(view(present), view(asked));
}

/** A name for SQL made from a service's: a letter first, no hyphens, nothing that is taken by the engine. */
function wordFor(name: string): string {
  const word = name.replaceAll('-', '_');
  const lettered = /^[a-z]/.test(word) ? word : `db_${word}`;
  return RESERVED.has(lettered) ? `${lettered}_db` : lettered;
}
