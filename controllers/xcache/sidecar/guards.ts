import { AppError } from '#core/errors.ts';
import { GUARDS, type Guards } from '#xcache/protocol/types.ts';

/** Guards that a test has switched off, a list of their names parted by commas; all are on without it. @throws AppError `invalid` for a name that is none */
export function readGuards(text: string): Guards {
  const guards = { ...GUARDS };
  for (const name of text.split(',').map((part) => part.trim())) {
    if (name === '') continue;
    if (!Object.hasOwn(guards, name))
      throw new AppError('invalid', `"${name}" is no guard of the protocol`, { hint: `one of ${Object.keys(GUARDS).join(', ')}` });
    guards[name as keyof Guards] = false;
  }
  return guards;
}
