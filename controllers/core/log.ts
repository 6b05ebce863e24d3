import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Fields that never reach a log, wherever they stand in what is logged. */
const SECRET_FIELDS = ['token', 'secret', 'secrets', 'password', 'key', 'authorization', 'poolKey', 'gossipKey', 'consul_token'];

export interface LogOptions {
  /** The program or part that speaks. */
  name: string;
  /** pino's level; `XCAAS_LOG` of the environment, else `info`. */
  level?: string;
  destination?: DestinationStream;
}

/** A logger of JSON lines on stdout. Messages are static sentences; what varies goes into fields. */
export function createLogger({ name, level = process.env.XCAAS_LOG ?? 'info', destination }: LogOptions): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  const options = {
    name,
    level,
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: '[redacted]' },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
