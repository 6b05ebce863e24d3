import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { LbOptions, type LbSpec } from '#xlb/schema.ts';
import { changeGroup } from '#xlb/spec.ts';

/**
 * What `lb set` knows: `key=value` for the whole load balancer, `GROUP.key=value` for one target group (`check.` for its health check). To add an
 * option: a field in schema.ts, a line here, and its directive in sidecar/render.ts.
 */
type Reader = (text: string, key: string) => unknown;

const OPTIONS: Record<string, { field: keyof LbOptions; read: Reader }> = {
  'connect-timeout': { field: 'connectTimeoutMs', read: duration },
  'read-timeout': { field: 'readTimeoutMs', read: duration },
  'send-timeout': { field: 'sendTimeoutMs', read: duration },
  'max-body': { field: 'maxBodyBytes', read: size },
};

const GROUP_OPTIONS: Record<string, { path: readonly string[]; read: Reader }> = {
  algorithm: { path: ['algorithm'], read: word },
  'hash-key': { path: ['hashKey'], read: word },
  'sticky-cookie': { path: ['stickyCookie'], read: (text) => (text === '' ? undefined : text) },
  tries: { path: ['tries'], read: whole },
  'max-fails': { path: ['maxFails'], read: whole },
  'fail-timeout': { path: ['failTimeoutMs'], read: duration },
  'check.type': { path: ['active', 'type'], read: word },
  'check.path': { path: ['active', 'path'], read: word },
  'check.interval': { path: ['active', 'intervalMs'], read: duration },
  'check.timeout': { path: ['active', 'timeoutMs'], read: duration },
  'check.rise': { path: ['active', 'rise'], read: whole },
  'check.fall': { path: ['active', 'fall'], read: whole },
};

/** Options of the interface that come in a later version. */
const NOT_BUILT = new Set(['rate-limit', 'allow', 'deny', 'slow-start', 'gzip', 'redirect', 'headers', 'canary', 'grpc']);

/** @throws AppError `usage` naming what can be set, `invalid` for a value out of range, `not_implemented` */
export function applySettings(spec: LbSpec, settings: Record<string, string>): LbSpec {
  return Object.entries(settings).reduce((present, [key, text]) => applySetting(present, key, text), spec);
}

function applySetting(spec: LbSpec, key: string, text: string): LbSpec {
  const option = Object.hasOwn(OPTIONS, key) ? OPTIONS[key] : undefined;
  if (option !== undefined) {
    const options = { ...spec.options, [option.field]: option.read(text, key) };
    return { ...spec, options: validate(LbOptions, options, `${key}=${text}`) };
  }
  const dot = key.indexOf('.');
  const group = key.slice(0, Math.max(dot, 0));
  const rest = key.slice(dot + 1);
  const groupOption = dot > 0 && Object.hasOwn(GROUP_OPTIONS, rest) ? GROUP_OPTIONS[rest] : undefined;
  if (groupOption === undefined) throw unknown(spec, key);
  return changeGroup(spec, group, (present) => setPath(present, groupOption.path, groupOption.read(text, key)) as typeof present);
}

function unknown(spec: LbSpec, key: string): AppError {
  const last = key.split('.').at(-1) ?? key;
  if (NOT_BUILT.has(key) || NOT_BUILT.has(last)) return new AppError('not_implemented', `${key} is not built yet`);
  const group = spec.groups[0]?.name ?? 'GROUP';
  const known = [...Object.keys(OPTIONS), ...Object.keys(GROUP_OPTIONS).map((name) => `${group}.${name}`)];
  return new AppError('usage', `${JSON.stringify(key)} cannot be set`, { hint: `it can be ${known.join(', ')}` });
}

function setPath(object: object, path: readonly string[], value: unknown): object {
  const [head, ...rest] = path;
  if (head === undefined) return object;
  const inner = (object as Record<string, unknown>)[head];
  return { ...object, [head]: rest.length === 0 ? value : setPath(inner as object, rest, value) };
}

function word(text: string): string {
  return text;
}

function whole(text: string, key: string): number {
  if (!/^\d+$/.test(text)) throw new AppError('usage', `${key} takes a whole number, not "${text}"`);
  return Number(text);
}

/** `500ms`, `30s`, `5m`, `1h`: milliseconds. */
export function duration(text: string, key: string): number {
  const match = /^(\d+)(ms|s|m|h)$/.exec(text);
  if (match === null) throw new AppError('usage', `${key} takes a time such as 500ms, 30s or 5m, not "${text}"`);
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] as 'ms' | 's' | 'm' | 'h'];
  return Number(match[1]) * unit;
}

/** `10m`, `512k`, `1g` or plain bytes: bytes. */
export function size(text: string, key: string): number {
  const match = /^(\d+)([kmg]?)$/i.exec(text);
  if (match === null) throw new AppError('usage', `${key} takes a size such as 512k, 10m or 1g, not "${text}"`);
  const unit = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }[(match[2] ?? '').toLowerCase() as '' | 'k' | 'm' | 'g'];
  return Number(match[1]) * unit;
}
