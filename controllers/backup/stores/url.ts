import { AppError } from '#core/errors.ts';
import { createS3Store } from './s3.ts';
import type { BackupStore } from './store.ts';
import { createVolumeStore } from './volume.ts';
import { createWebHdfsStore } from './webhdfs.ts';

/** Credentials of a store, when they are kept apart from its address. */
export interface StoreCredentials {
  user: string;
  secret?: string;
}

export type StoreAddress =
  | { kind: 'volume' }
  | { kind: 's3'; endpoint: string; bucket: string; prefix: string; region: string; credentials: StoreCredentials | undefined }
  | { kind: 'webhdfs'; endpoint: string; root: string; credentials: StoreCredentials | undefined };

const FORMS = 'volume · s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=R&tls=off] · webhdfs://USER@HOST:PORT/FOLDER[?tls=on]';

/**
 * @param text see {@link FORMS}
 * @throws AppError `invalid`; the message does not repeat the text, which may hold a secret
 */
export function parseStore(text: string): StoreAddress {
  if (text === 'volume') return { kind: 'volume' };
  const url = URL.parse(text);
  if (url === null) throw wrong('it is no URL');
  const unknown = [...url.searchParams.keys()].find((field) => !['region', 'tls'].includes(field));
  if (unknown !== undefined) throw wrong(`${unknown} is not known`);
  if (url.hash !== '' || url.hostname === '') throw wrong('it names no host, or has a "#" (write %23)');
  const tls = url.searchParams.get('tls');
  if (tls !== null && tls !== 'on' && tls !== 'off') throw wrong('tls is on or off');
  const path = url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
  if (path.some((part) => !/^[A-Za-z0-9._-]+$/.test(part) || part === '..' || part === '.'))
    throw wrong('its path may hold letters, digits, ".", "_" and "-"');
  const user = decodeURIComponent(url.username);
  const secret = decodeURIComponent(url.password);
  const credentials = user === '' ? undefined : { user, ...(secret === '' ? {} : { secret }) };
  if (url.protocol === 's3:') {
    const [bucket, ...prefix] = path;
    if (bucket === undefined) throw wrong('it names no bucket');
    return {
      kind: 's3',
      endpoint: `${tls === 'off' ? 'http' : 'https'}://${url.host}`,
      bucket,
      prefix: prefix.length === 0 ? '' : `${prefix.join('/')}/`,
      region: url.searchParams.get('region') ?? 'us-east-1',
      credentials,
    };
  }
  if (url.protocol === 'webhdfs:') {
    if (path.length === 0) throw wrong('it names no folder');
    return { kind: 'webhdfs', endpoint: `${tls === 'on' ? 'https' : 'http'}://${url.host}`, root: `/${path.join('/')}`, credentials };
  }
  throw wrong(`${url.protocol}// is not known`);
}

/** The same place without its secret, for people and logs. */
export function shownStore(text: string): string {
  const url = URL.parse(text);
  if (url === null) return text;
  if (url.password !== '') url.password = '***';
  return url.href;
}

/** Splits what an API was given: the place, which may be shown, and its credentials, which are to be sealed. */
export function splitStore(text: string): { store: string; credentials: StoreCredentials | undefined } {
  const address = parseStore(text);
  if (address.kind === 'volume') return { store: text, credentials: undefined };
  const url = new URL(text);
  url.username = '';
  url.password = '';
  return { store: url.href, credentials: address.credentials };
}

export interface OpenStoreOptions {
  /** Folder of the member's backup volume. */
  volume: string;
  /** Those that were kept apart; what the address itself says goes first. */
  credentials?: StoreCredentials;
  /** PEM of an authority besides the system's. */
  ca?: string;
}

/** @throws AppError `invalid` when the address is wrong, or a credential is missing */
export function openStore(text: string, { volume, credentials, ca }: OpenStoreOptions): BackupStore {
  const address = parseStore(text);
  if (address.kind === 'volume') return createVolumeStore(volume);
  const given = address.credentials ?? credentials;
  const trust = { ...(ca ? { ca } : {}) };
  if (address.kind === 'webhdfs') {
    return createWebHdfsStore({ endpoint: address.endpoint, root: address.root, user: given?.user ?? 'hdfs', ...trust });
  }
  if (given?.secret === undefined) throw wrong('an S3 store needs a key and its secret');
  const { endpoint, bucket, prefix, region } = address;
  return createS3Store({ endpoint, bucket, prefix, region, accessKey: given.user, secretKey: given.secret, ...trust });
}

function wrong(why: string): AppError {
  return new AppError('invalid', `the place for backups is wrong: ${why}`, { hint: FORMS });
}
