import { AppError } from '#core/errors.ts';

/**
 * Settings of an engine that a user may change: a whitelist, since one line of an engine's configuration can undo what the system promises, or keep the engine from starting at
 * all. Pure: what each may be, what the user wrote of it, and why others are refused.
 */

interface Common {
  name: string;
  /** Takes effect in a running engine; else with its next start. */
  dynamic: boolean;
  about: string;
}

export type Preset = number | ((memoryBytes: number) => number);

type Kind =
  | { kind: 'integer' | 'bytes' | 'seconds'; min: number; max: number; default: Preset }
  /** Seconds with a fraction. */
  | { kind: 'decimal'; min: number; max: number; default: number }
  | { kind: 'boolean'; default: boolean }
  | { kind: 'choice'; choices: readonly string[]; default: string }
  | { kind: 'set'; choices: readonly string[]; default: string }
  | { kind: 'text'; pattern: RegExp; like: string; default: string };

export type Parameter = Common & Kind;

/** Makers of what lists of parameters are written with. */
const counted =
  (kind: 'integer' | 'bytes' | 'seconds') =>
  (name: string, min: number, max: number, preset: Preset, about: string): Parameter => ({
    name,
    dynamic: true,
    about,
    kind,
    min,
    max,
    default: preset,
  });
export const integer = counted('integer');
export const bytes = counted('bytes');
export const seconds = counted('seconds');
export const boolean = (name: string, preset: boolean, about: string): Parameter => ({
  name,
  dynamic: true,
  about,
  kind: 'boolean',
  default: preset,
});
export const choice = (name: string, choices: readonly string[], preset: string, about: string): Parameter => ({
  name,
  dynamic: true,
  about,
  kind: 'choice',
  choices,
  default: preset,
});
export const atStart = (parameter: Parameter): Parameter => ({ ...parameter, dynamic: false });

export interface ParameterRules {
  parameters: readonly Parameter[];
  /** Why some are not on the list, by what begins their name or is it. First match counts. */
  refused: readonly [RegExp, string][];
  /** Of a name as it is written by people. */
  canonical(name: string): string;
  /** Command that shows them all. */
  list: string;
  /** How the engine writes yes and no. */
  words: { on: string; off: string };
}

export interface ParameterTable {
  /** @throws AppError `invalid` saying why it cannot be set, or which names are near */
  find(name: string): Parameter;
  /**
   * @param value as the user wrote it: `512M`, `on`, `30`
   * @returns as the engine takes it, always the same for the same meaning
   * @throws AppError `invalid` with the range or the choices
   */
  read(known: Parameter, value: string): string;
  /** Each by itself. @returns canonical names and values @throws AppError `invalid` for the first that cannot be */
  readAll(given: Readonly<Record<string, string>>): Record<string, string>;
  defaultOf(known: Parameter, memoryBytes: number): string;
  /** Names whose change takes effect with the next start only. */
  needRestart(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string[];
  /** All parameters with what they are now. */
  describe(values: Readonly<Record<string, string>>, memoryBytes: number): ParameterRow[];
}

export interface ParameterRow {
  name: string;
  value: string;
  default: string;
  changed: boolean;
  takes: string;
  restart: boolean;
  about: string;
}

export function parameterTable({ parameters, refused, canonical, list, words }: ParameterRules): ParameterTable {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));

  function find(name: string): Parameter {
    const wanted = canonical(name);
    const found = byName.get(wanted);
    if (found !== undefined) return found;
    const refusal = refused.find(([pattern]) => pattern.test(wanted));
    if (refusal !== undefined)
      throw new AppError('invalid', `${wanted.slice(0, 60)} cannot be set: ${refusal[1]}`, {
        hint: `leave it away; ${list} shows those that can be set`,
      });
    const near = parameters.filter((one) => one.name.includes(wanted) || wanted.includes(one.name)).map((one) => one.name);
    throw new AppError('invalid', `${JSON.stringify(wanted.slice(0, 60))} is not a parameter that can be set`, {
      hint: near.length > 0 ? `is ${near.slice(0, 3).join(' or ')} meant?` : `${list} shows those that can`,
    });
  }

  function defaultOf({ default: preset }: Parameter, memoryBytes: number): string {
    if (typeof preset === 'function') return String(preset(memoryBytes));
    return typeof preset === 'boolean' ? (preset ? words.on : words.off) : String(preset);
  }

  const read = (known: Parameter, value: string) => readValue(known, value.trim(), words);

  return {
    find,
    read,
    defaultOf,
    readAll(given) {
      const values: Record<string, string> = {};
      for (const [name, value] of Object.entries(given)) {
        const known = find(name);
        if (values[known.name] !== undefined) throw new AppError('invalid', `${known.name} is given twice`);
        values[known.name] = read(known, value);
      }
      return values;
    },
    needRestart(before, after) {
      const changed = parameters.filter(({ name }) => before[name] !== after[name]);
      return changed.filter(({ dynamic }) => !dynamic).map(({ name }) => name);
    },
    describe(values, memoryBytes) {
      return parameters
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .map((known) => {
          const preset = defaultOf(known, memoryBytes);
          const value = values[known.name] ?? preset;
          return {
            ...{ name: known.name, value, default: preset, changed: value !== preset },
            ...{ takes: rangeOf(known), restart: !known.dynamic, about: known.about },
          };
        });
    },
  };
}

function readValue(known: Parameter, text: string, words: ParameterRules['words']): string {
  const refuse = (takes: string): never => {
    throw new AppError('invalid', `${known.name}=${text.slice(0, 60)} cannot be: it takes ${takes}`);
  };
  switch (known.kind) {
    case 'boolean': {
      if (/^(on|1|true|yes)$/i.test(text)) return words.on;
      if (/^(off|0|false|no)$/i.test(text)) return words.off;
      return refuse('on or off');
    }
    case 'choice': {
      const found = known.choices.find((one) => one.toLowerCase() === text.toLowerCase());
      return found ?? refuse(`one of ${known.choices.join(', ')}`);
    }
    case 'set': {
      const parts =
        text === ''
          ? []
          : text
              .toUpperCase()
              .split(',')
              .map((one) => one.trim());
      const wrong = parts.find((one) => !known.choices.includes(one));
      if (wrong !== undefined) return refuse(`${known.choices.join(', ')}; ${wrong.slice(0, 40)} is none of them`);
      return [...new Set(parts)].join(',');
    }
    case 'text':
      return known.pattern.test(text) ? text : refuse(`a value like ${known.like}`);
    case 'decimal': {
      const number = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
      return number >= known.min && number <= known.max ? String(number) : refuse(`${known.min} to ${known.max} seconds`);
    }
    default: {
      const number = known.kind === 'bytes' ? readBytes(text) : /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      const show = known.kind === 'bytes' ? inBytes : String;
      const unit = known.kind === 'seconds' ? ' seconds' : '';
      return number >= known.min && number <= known.max ? String(number) : refuse(`${show(known.min)} to ${show(known.max)}${unit}`);
    }
  }
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function readBytes(text: string): number {
  const match = /^(\d{1,15})\s*([kmg]?)(i?b)?$/i.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!.toLowerCase()]!;
}

export function inBytes(count: number): string {
  const unit = (['g', 'm', 'k'] as const).find((one) => count % UNITS[one]! === 0);
  return unit === undefined ? String(count) : `${count / UNITS[unit]!}${unit.toUpperCase()}`;
}

function rangeOf(known: Parameter): string {
  switch (known.kind) {
    case 'boolean':
      return 'on, off';
    case 'choice':
      return known.choices.join(', ');
    case 'set':
      return 'modes';
    case 'text':
      return `like ${known.like}`;
    case 'bytes':
      return `${inBytes(known.min)} to ${inBytes(known.max)}`;
    case 'integer':
      return `${known.min} to ${known.max}`;
    default:
      return `${known.min} to ${known.max} s`;
  }
}
