/**
 * Every failure a user can meet has a code here: what kind it is, the HTTP status it travels with and the exit code the CLI ends with
 * (exit codes: docs/architecture.md, 0 ok · 1 failure · 2 usage · 3 not found · 4 conflict · 5 timeout).
 */
export const ERROR_CODES = {
  // The caller's mistake.
  usage: { status: 400, exit: 2, user: true },
  invalid: { status: 400, exit: 2, user: true },
  too_large: { status: 413, exit: 2, user: true },
  unauthenticated: { status: 401, exit: 1, user: true },
  forbidden: { status: 403, exit: 1, user: true },
  not_found: { status: 404, exit: 3, user: true },
  ambiguous: { status: 409, exit: 4, user: true },
  conflict: { status: 409, exit: 4, user: true },
  in_use: { status: 409, exit: 4, user: true },
  port_taken: { status: 409, exit: 4, user: true },
  no_host: { status: 409, exit: 1, user: true },
  not_implemented: { status: 501, exit: 1, user: true },
  token_used: { status: 409, exit: 4, user: true },
  token_expired: { status: 410, exit: 1, user: true },
  // What the world did.
  timeout: { status: 504, exit: 5, user: false },
  unavailable: { status: 503, exit: 1, user: false },
  cas_lost: { status: 409, exit: 1, user: false },
  fenced: { status: 409, exit: 1, user: false },
  engine: { status: 502, exit: 1, user: false },
  config_rejected: { status: 502, exit: 1, user: false },
  disk_full: { status: 507, exit: 1, user: false },
  // Ours.
  internal: { status: 500, exit: 1, user: false },
} as const satisfies Record<string, { status: number; exit: number; user: boolean }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorDetails {
  /** The next thing to type or to change. */
  hint?: string;
  cause?: unknown;
}

/** An error that a person reads: `message` says what is wrong and where, `hint` what to do about it. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'AppError';
    this.code = code;
    this.hint = details.hint;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  get exit(): number {
    return ERROR_CODES[this.code].exit;
  }

  /** True when the caller made the mistake: no report, no stack. */
  get user(): boolean {
    return ERROR_CODES[this.code].user;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
}

export function hasCode(error: unknown, code: ErrorCode): error is AppError {
  return error instanceof AppError && error.code === code;
}

/** Anything thrown, as an AppError: system errors that have a meaning for users keep it, the rest is ours. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const code = systemCode(error);
  const message = messageOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new AppError('disk_full', message, { hint: 'free some space on that disk, then try again', cause: error });
  }
  return new AppError('internal', message, { cause: error });
}

/** Node's `code` of a system error (`ENOENT`, `ECONNREFUSED`, …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error.message;
}

/** The one JSON form of an error, on the wire and with `--json`. */
export interface ErrorBody {
  error: { code: ErrorCode; message: string; hint?: string };
}

export function errorBody(error: AppError): ErrorBody {
  return { error: { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) } };
}
