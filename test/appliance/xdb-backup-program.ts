import { createInterface } from 'node:readline';
import { type BackupKey, bestCodec } from '#backup/envelope.ts';
import type { BackupStore } from '#backup/stores/store.ts';
import { openStore } from '#backup/stores/url.ts';
import { createLogger } from '#core/log.ts';
import { type ArchiveRole, type Archiver, createArchiver } from '#xdb/backup/archive.ts';
import { timeOfTransaction } from '#xdb/backup/binlog/time.ts';
import { deleteFull, readCatalog } from '#xdb/backup/catalog.ts';
import { sumTables } from '#xdb/backup/checks.ts';
import { makeFull } from '#xdb/backup/full.ts';
import { restore } from '#xdb/backup/restore.ts';
import { type RestoreTarget, restoreWindows } from '#xdb/backup/restore-plan.ts';
import { expired } from '#xdb/backup/retention.ts';
import { connectSql } from '#xdb/backup/sql.ts';
import { verifyBackup } from '#xdb/backup/verify.ts';
import { cloneEngine } from './xdb-backup-engine.ts';

/** What a member's sidecar would do for backups, told by the test over standard input: one request a line, one answer a line. */

const INDEX = '/var/lib/xdb/db/binlog.index';
const key: BackupKey = { id: 'k1', secret: Buffer.alloc(32, 7) };
const keyOf = (id: string) => (id === key.id ? key : undefined);
const log = createLogger({ name: 'lab', destination: process.stderr });
const pack = { codec: bestCodec(), key };
const connect = () => connectSql({ socketPath: '/run/xdb/engine.sock', user: 'mysql', password: '' });

let store: BackupStore;
let archiver: Archiver;
let member = '';
let loop: { role: ArchiveRole; stop: AbortController; ended: Promise<void> } | undefined;
let cancel = new AbortController();

const commands: Record<string, (request: Record<string, unknown>) => Promise<unknown>> = {
  async open({ url, as }) {
    member = String(as);
    store = openStore(String(url), { volume: '/var/lib/xdb-backup' });
    archiver = createArchiver({ store, pack, index: INDEX, domain: 0, member, log, wholeMs: 20_000 });
    return process.version;
  },
  archive: ({ role }) => archiver.turn(role as ArchiveRole | undefined, new AbortController().signal),
  async follow({ role, everyMs }) {
    const stop = new AbortController();
    const turns = async () => {
      while (!stop.signal.aborted) {
        await archiver.turn(role as ArchiveRole, stop.signal).catch((error: unknown) => log.warn({ err: String(error) }, 'turn'));
        await new Promise((resolve) => setTimeout(resolve, Number(everyMs)));
      }
    };
    loop = { role: role as ArchiveRole, stop, ended: turns() };
  },
  async unfollow() {
    loop?.stop.abort();
    await loop?.ended;
    loop = undefined;
  },
  full: ({ id, sums }) =>
    makeFull({
      id: String(id),
      db: 'adb',
      member,
      engine: cloneEngine('/var/lib/xdb/db'),
      engineVersion: '11.8',
      store,
      pack,
      timeOf: (gtid) => timeOfTransaction(INDEX, gtid, 0),
      sums: sums ? (signal) => sumTables({ connect, budgetMs: 60_000, signal }) : undefined,
      progress: () => undefined,
      signal: cancel.signal,
    }),
  async cancel() {
    cancel.abort();
    cancel = new AbortController();
  },
  restore: ({ target, dataDir }) =>
    restore({
      store,
      keyOf,
      target: reviveTarget(target as RestoreTarget),
      engine: cloneEngine(String(dataDir)),
      scratch: { dataDir: String(dataDir), runDir: '/tmp/xr', memoryBytes: 128 * 2 ** 20 },
      progress: (sentence) => log.info({ sentence }, 'restore'),
      finish: async () => undefined,
      signal: new AbortController().signal,
    }),
  verify: ({ id }) =>
    verifyBackup({
      id: String(id),
      store,
      keyOf,
      folder: '/var/lib/xdb/scratch',
      engineAt: (dataDir) => cloneEngine(dataDir),
      runDir: '/tmp/xv',
      memoryBytes: 128 * 2 ** 20,
      progress: (sentence) => log.info({ sentence }, 'verify'),
      signal: new AbortController().signal,
    }),
  catalog: () => readCatalog(store),
  windows: async () => restoreWindows(await readCatalog(store)),
  async retain({ keep }) {
    const gone = expired(await readCatalog(store), { keep: Number(keep), running: [], now: new Date() });
    for (const id of gone.fulls) await deleteFull(store, id);
    for (const object of gone.objects) await store.delete(object);
    return gone;
  },
  list: () => store.list(''),
  memory: async () => process.memoryUsage().rss,
};

function reviveTarget(target: RestoreTarget): RestoreTarget {
  return target.kind === 'time' ? { kind: 'time', at: new Date(target.at) } : target;
}

const requests = createInterface({ input: process.stdin });
requests.on('line', (line) => {
  const { n, call, ...request } = JSON.parse(line) as { n: number; call: string };
  void commands[call]!(request)
    .then((result) => ({ n, result }))
    .catch((error: Error & { code?: string }) => ({ n, error: { code: error.code, message: error.message, stack: error.stack } }))
    .then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
});
requests.on('close', () => process.exit(0));
