/** Readers of what HAProxy prints (management manual §9.1 for statistics, §9.3 and §9.4.1 for the rest). Columns are found by name. */

export interface ServerState {
  proxy: string;
  server: string;
  address: string;
  port: number;
  /** 0 down, 1 starting, 2 running, 3 stopping. */
  operational: number;
  admin: 'ready' | 'drain' | 'maint';
  /** On HAProxy's scale. */
  weight: number;
  /** Its health check was configured and switched on. */
  checked: boolean;
}

/** Not 0x04: it only remembers that the file said `disabled`, whatever was ordered since. */
const MAINT_BITS = 0x01 | 0x02 | 0x20;
const DRAIN_BITS = 0x08 | 0x10;
/** CHK_ST_ENABLED of HAProxy's check state. */
const CHECK_ENABLED = 0x04;

/** `show servers state`: a line with the format's version, a line of column names, a line a server. */
export function parseServersState(text: string): ServerState[] {
  const lines = text.split('\n');
  const header = lines.find((line) => line.startsWith('# '));
  if (header === undefined) return [];
  const column = columnsOf(header.slice(2).trim().split(' '));
  const rows = lines.filter((line) => line !== '' && !line.startsWith('#') && line.includes(' '));
  return rows.map((line) => {
    const fields = line.split(' ');
    const field = (name: string) => fields[column(name)] ?? '';
    const admin = Number(field('srv_admin_state'));
    return {
      proxy: field('be_name'),
      server: field('srv_name'),
      address: field('srv_addr'),
      port: Number(field('srv_port')),
      operational: Number(field('srv_op_state')),
      admin: (admin & MAINT_BITS) !== 0 ? 'maint' : (admin & DRAIN_BITS) !== 0 ? 'drain' : 'ready',
      weight: Number(field('srv_uweight')),
      checked: (Number(field('srv_check_state')) & CHECK_ENABLED) !== 0,
    };
  });
}

export interface StatRow {
  proxy: string;
  server: string;
  /** Connections now, those that wait for a place included. */
  active: number;
  total: number;
  failures: number;
  bytesIn: number;
  bytesOut: number;
  status: string;
}

/** `show stat`: CSV, the first line names the columns after `# `. */
export function parseStat(text: string): StatRow[] {
  const [header, ...lines] = text.split('\n');
  if (header === undefined || !header.startsWith('# ')) return [];
  const column = columnsOf(header.slice(2).split(','));
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const fields = csvFields(line);
      const number = (name: string) => Number(fields[column(name)] ?? 0);
      return {
        proxy: fields[column('pxname')] ?? '',
        server: fields[column('svname')] ?? '',
        active: number('scur') + number('qcur'),
        total: number('stot'),
        failures: number('econ') + number('eresp'),
        bytesIn: number('bin'),
        bytesOut: number('bout'),
        status: fields[column('status')] ?? '',
      };
    });
}

function columnsOf(names: string[]): (name: string) => number {
  const positions = new Map(names.map((name, index) => [name, index]));
  return (name) => positions.get(name) ?? -1;
}

function csvFields(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  return Array.from(
    line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g),
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

/** `show info`: `Name: value` lines. */
export function parseInfo(text: string): Map<string, string> {
  const entries = text.split('\n').map((line): [string, string] => {
    const colon = line.indexOf(': ');
    return colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 2)];
  });
  return new Map(entries);
}

export interface Processes {
  /** Pid of the worker that takes new connections. */
  worker: number | undefined;
  /** Pids of workers that were replaced and still have connections. */
  oldWorkers: number[];
  /** Reloads since the master began. */
  reloads: number;
}

/** The master's `show proc`: a table with the headings `# workers` and `# old workers`. */
export function parseProc(text: string): Processes {
  const processes: Processes = { worker: undefined, oldWorkers: [], reloads: 0 };
  let heading = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) heading = line.slice(2).trim();
    const [pid, type, reloads] = line.trim().split(/\s+/);
    if (type === 'master') processes.reloads = Number(reloads);
    if (type !== 'worker') continue;
    if (heading === 'old workers') processes.oldWorkers.push(Number(pid));
    else processes.worker = Number(pid);
  }
  return processes;
}

export interface Session {
  /** As `shutdown session` takes it. */
  id: string;
  proxy: string;
  server: string;
}

/** `show sess`: one line a stream, `0x…: proto=… be=… srv=…`. Those without a server are left out. */
export function parseSessions(text: string): Session[] {
  return Array.from(text.matchAll(/^(0x[0-9a-f]+): .*? be=(\S+) srv=(\S+) /gm), ([, id = '', proxy = '', server = '']) => ({
    id,
    proxy,
    server,
  })).filter(({ server }) => server !== '<none>' && server !== '<NONE>');
}
