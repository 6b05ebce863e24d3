import { isIP } from 'node:net';
import { AppError } from '#core/errors.ts';

/** What `master-url` says. */
export interface MasterUrl {
  host: string;
  port: number;
  user: string;
  password: string;
  /** The database that the new one's user gets, when it names one. */
  database: string | undefined;
}

const HINT = 'write mysql://USER:PASSWORD@HOST:PORT/DATABASE; special characters of a password are written as %XX (@ is %40)';

/** Pure. Nothing of the text is repeated in an error: a password is in it. @throws AppError `usage`, `invalid` */
export function parseMasterUrl(text: string): MasterUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new AppError('usage', 'master-url is no URL', { hint: HINT });
  if (url.protocol !== 'mysql:' && url.protocol !== 'mariadb:') {
    throw new AppError('usage', `master-url begins with ${url.protocol.slice(0, 20)}//, not with mysql://`, { hint: HINT });
  }
  if (url.search !== '' || url.hash !== '') throw new AppError('usage', 'master-url has something after ? or #', { hint: HINT });
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (host === '') throw new AppError('usage', 'master-url names no host', { hint: HINT });
  const user = decode(url.username);
  if (user === '') throw new AppError('usage', 'master-url names no user', { hint: HINT });
  const port = url.port === '' ? 3306 : Number(url.port);
  if (port === 0) throw new AppError('invalid', 'master-url has port 0', { hint: HINT });
  if (isLoopback(host)) {
    throw new AppError('invalid', `${host} is the very member that would follow, not your server`, {
      hint: 'name the server by an address or name that the hosts of this pool reach',
    });
  }
  const path = decode(url.pathname.replace(/^\//, '').replace(/\/$/, ''));
  if (path !== '' && !/^[a-z][a-z0-9_]{0,62}$/.test(path)) {
    throw new AppError(
      'invalid',
      `master-url names the database ${JSON.stringify(path.slice(0, 70))}, which the new one's user cannot be given`,
      {
        hint: 'leave it away: every database of the master is copied; its user gets those it can',
      },
    );
  }
  return { host, port, user, password: decode(url.password), database: path === '' ? undefined : path };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AppError('usage', 'master-url has a % that is followed by no two hexadecimal digits', { hint: HINT });
  }
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && (host.startsWith('127.') || host === '0.0.0.0');
}
