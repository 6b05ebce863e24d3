import { AppError } from '#core/errors.ts';
import type { Host } from '#pool/host.ts';
import { hostLabels } from '#pool/host.ts';

/**
 * One demand on a host: `storage==ssd`, `node!=host-a*`, `com.alipay.acs.topic.group==/group[12]/`, `storage==~ssd` (soft: a wish).
 * The operators are those of classic Swarm's filters, which the pool endpoint and `--opt storage=ssd` share.
 */
export interface Constraint {
  /** A label's key; `node` is the host's name or id, `group` and `rack` are its own. */
  key: string;
  operator: '==' | '!=';
  /** A word, a glob with `*` and `?`, or `/regex/`. */
  value: string;
  /** True = kept while any host can keep it, else given up. */
  soft: boolean;
}

const KEY = /^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/;
const MAX_VALUE = 256;

/**
 * Reads one constraint; `key=value` is taken for `key==value`.
 *
 * @throws AppError `invalid` naming what cannot be read
 */
export function parseConstraint(text: string): Constraint {
  const match = /^\s*([^=!\s]+)\s*(==|!=|=)\s*(~?)(.*?)\s*$/s.exec(text);
  const [, key = '', operator = '', soft = '', value = ''] = match ?? [];
  if (match === null || !KEY.test(key)) {
    throw new AppError('invalid', `the constraint "${text}" cannot be read`, {
      hint: 'write LABEL==VALUE or LABEL!=VALUE, e.g. storage==ssd',
    });
  }
  if (value === '' || value.length > MAX_VALUE) {
    throw new AppError('invalid', `the constraint "${text}" needs a value of 1 to ${MAX_VALUE} characters`);
  }
  const constraint: Constraint = { key, operator: operator === '!=' ? '!=' : '==', value, soft: soft === '~' };
  if (isRegex(value)) compile(constraint);
  return constraint;
}

/** As a user writes it; `storage=ssd` for a plain equality. */
export function showConstraint({ key, operator, value, soft }: Constraint): string {
  const plain = operator === '==' && !soft;
  return `${key}${plain ? '=' : operator}${soft ? '~' : ''}${value}`;
}

/** A label that is not there equals nothing: `==` fails and `!=` holds. */
export function satisfies(host: Pick<Host, 'spec' | 'facts'>, constraint: Constraint): boolean {
  const found = valuesOf(host, constraint.key).some(matcher(constraint));
  return constraint.operator === '==' ? found : !found;
}

function valuesOf(host: Pick<Host, 'spec' | 'facts'>, key: string): string[] {
  if (key === 'node') return [host.spec.name, host.spec.id];
  const labels = hostLabels(host);
  return Object.hasOwn(labels, key) ? [labels[key]!] : [];
}

function matcher(constraint: Constraint): (value: string) => boolean {
  const { value } = constraint;
  if (isRegex(value)) {
    const regex = compile(constraint);
    return (text) => regex.test(text);
  }
  return (text) => globMatches(value, text);
}

function isRegex(value: string): boolean {
  return value.length > 2 && value.startsWith('/') && value.endsWith('/');
}

/**
 * Expressions come from users and run in the control plane, so those whose time can explode on a label of 256 characters are refused:
 * back-references, look-arounds, a repeated group, or many choices.
 */
function compile({ key, value }: Constraint): RegExp {
  const body = value.slice(1, -1);
  const ignoreCase = body.startsWith('(?i)');
  const source = ignoreCase ? body.slice(4) : body;
  const bare = source
    .replace(/\\[^1-9k]/g, 'x')
    .replace(/\[[^\]]*\]/g, 'x')
    .replaceAll('(?:', '(');
  const count = (what: RegExp) => bare.match(what)?.length ?? 0;
  const explosive = /\\[1-9k]/.test(bare) || /\)[*+{]/.test(bare) || /\(\?/.test(bare);
  if (explosive || count(/[*+]|\{\d+,\d*\}/g) > 2 || count(/\?/g) > 4 || count(/\(/g) > 4 || count(/\|/g) > 8) {
    throw new AppError('invalid', `the expression ${value} of the constraint on ${key} could take too long to evaluate`, {
      hint: 'use no back-references, look-arounds or repeated groups, and at most two of * + {n,m}',
    });
  }
  try {
    return new RegExp(source, ignoreCase ? 'iu' : 'u');
  } catch (cause) {
    throw new AppError('invalid', `the expression ${value} of the constraint on ${key} is not a regular expression`, { cause });
  }
}

/** `*` is any run of characters, `?` any one. Never slower than the product of both lengths. */
export function globMatches(glob: string, text: string): boolean {
  let g = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (glob[g] === '*') {
      star = g;
      g += 1;
      resume = t;
    } else if (g < glob.length && (glob[g] === '?' || glob[g] === text[t])) {
      g += 1;
      t += 1;
    } else if (star >= 0) {
      g = star + 1;
      resume += 1;
      t = resume;
    } else {
      return false;
    }
  }
  while (glob[g] === '*') g += 1;
  return g === glob.length;
}
