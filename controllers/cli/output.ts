import { createColors } from 'picocolors';
import { type AppError, errorBody } from '#core/errors.ts';

/** Colours for what goes to an `Output`, which leaves them out where nobody sees them. */
export const colours = createColors(true);

export type OutputStream = NodeJS.WritableStream & { isTTY?: boolean; hasColors?(): boolean };

export interface Output {
  json: boolean;
  /** The result: one JSON value with `--json`, else `text`. */
  result(value: unknown, text: () => string): void;
  /** One JSON value a line, for what is followed. */
  line(value: unknown, text: string): void;
  /** What is going on, on stderr; a line that moves on a terminal. */
  progress(text: string): void;
  note(text: string): void;
  error(error: AppError): void;
}

export interface OutputOptions {
  json: boolean;
  stdout: OutputStream;
  stderr: OutputStream;
}

/**
 * stdout is data, stderr is progress and errors; with `--json` stdout is exactly one JSON value, also on failure. Each is coloured only where it is a
 * terminal with colours: what a script reads does not depend on its surroundings (`CI`, `FORCE_COLOR`).
 */
export function createOutput({ json, stdout, stderr }: OutputOptions): Output {
  let moving = false;
  let lastProgress = '';
  const endLine = () => {
    if (moving) stderr.write('\r\u001b[K');
    moving = false;
  };
  return {
    json,
    result(value, text) {
      endLine();
      const out = json ? JSON.stringify(value) : shown(text(), stdout);
      if (out !== '') stdout.write(`${out}\n`);
    },
    line(value, text) {
      endLine();
      stdout.write(`${json ? JSON.stringify(value) : shown(text, stdout)}\n`);
    },
    progress(given) {
      const text = shown(given, stderr).replaceAll('\n', ' ');
      if (text === lastProgress) return;
      lastProgress = text;
      if (stderr.isTTY) {
        stderr.write(`\r\u001b[K${text}`);
        moving = true;
      } else {
        stderr.write(`${text}\n`);
      }
    },
    note(text) {
      endLine();
      stderr.write(`${shown(text, stderr)}\n`);
    },
    error(error) {
      endLine();
      if (json) stdout.write(`${JSON.stringify(errorBody(error))}\n`);
      else {
        stderr.write(`${shown(`${colours.red('error')}: ${error.message}`, stderr)}\n`);
        if (error.hint !== undefined) stderr.write(`${shown(`  ${colours.dim('→')} ${error.hint}`, stderr)}\n`);
      }
    },
  };
}

/**
 * What `stream` may be given. Names, labels and log lines are others': what would move a terminal's cursor or change its title is shown as a mark. Colours
 * stay where somebody sees them.
 */
function shown(text: string, stream: OutputStream): string {
  const isColoured = stream.isTTY === true && stream.hasColors?.() === true;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones
  return text.replace(/\u001b\[[0-9;]*m|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (found) => {
    if (found.length > 1) return isColoured ? found : '';
    return '\ufffd';
  });
}

/** Columns as wide as their widest cell, two spaces between. */
export function table(header: string[], rows: (string | number | undefined)[][]): string {
  const cells = [header, ...rows.map((row) => row.map((cell) => (cell === undefined || cell === '' ? '-' : String(cell))))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function colourStatus(status: string): string {
  if (status === 'READY') return colours.green(status);
  if (status === 'DOWN' || status === 'FAILED') return colours.red(status);
  return colours.yellow(status);
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${Number(size.toFixed(size < 10 && unit > 0 ? 1 : 0))} ${units[unit]}`;
}
