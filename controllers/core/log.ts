import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Names of fields whose values never reach a log, wherever they stand in what is logged, in any case. */
const SECRET_FIELDS = new Set([
  'token',
  'secret',
  'secrets',
  'secretid',
  'password',
  'key',
  'privatekey',
  'authorization',
  'cookie',
  'poolkey',
  'gossipkey',
  'consul_token',
  'x-consul-token',
]);
const CENSOR = '[redacted]';
/** Deeper than this nothing is logged: it costs more to look through than it tells. */
const MAX_DEPTH = 6;

export interface LogOptions {
  /** The program or part that speaks. */
  name: string;
  /** pino's level; `XCAAS_LOG` of the environment, else `info`. */
  level?: string;
  destination?: DestinationStream;
}

/** A logger of JSON lines on stdout. Messages are static sentences; what varies goes into fields. */
export function createLogger({ name, level = process.env.XCAAS_LOG ?? 'info', destination }: LogOptions): Logger {
  const options = {
    name,
    level,
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: Record<string, unknown>) => redact(fields, 0) as Record<string, unknown>,
    },
    // Errors carry fields of their own (what was asked for, headers, …); they become plain objects only here.
    serializers: { err: (error: unknown) => (error instanceof Error ? redact({ ...pino.stdSerializers.err(error) }, 0) : error) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

/** Goes through plain objects and lists only: an instance may be a socket, with half of the process behind it. */
function redact(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return withoutPasswords(value);
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  // At the first level its serializer takes it from here.
  if (value instanceof Error) return depth <= 1 ? value : withoutPasswords(value.message);
  if ('toJSON' in value && typeof value.toJSON === 'function') return redact(value.toJSON(), depth);
  if (depth >= MAX_DEPTH) return '[…]';
  if (Array.isArray(value)) return value.map((each) => redact(each, depth + 1));
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return `[${value.constructor?.name ?? 'object'}]`;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, SECRET_FIELDS.has(name.toLowerCase()) ? CENSOR : redact(inner, depth + 1)]),
  );
}

/** Passwords inside of URLs, as in `mysql://user:password@host`. */
function withoutPasswords(text: string): string {
  return text.includes('://') ? text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi, `$1:${CENSOR}@`) : text;
}
