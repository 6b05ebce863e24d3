import { AppError } from '#core/errors.ts';
import { GUARDS, type Guards } from '#xdb/protocol/types.ts';

/**
 * Guards that a test has switched off by `XCAAS_TEST_GUARDS`, a list of their names parted by commas; all are on without it. `sigtermAsFence` is none of the
 * decision's: it makes a kill of the engine a mild one.
 *
 * @throws AppError `invalid` for a name that is none
 */
export function readGuards(text: string): { guards: Guards; sigtermAsFence: boolean } {
  const guards = { ...GUARDS };
  let sigtermAsFence = false;
  for (const name of text.split(',').map((part) => part.trim())) {
    if (name === '') continue;
    if (name === 'sigtermAsFence') sigtermAsFence = true;
    else if (Object.hasOwn(guards, name)) guards[name as keyof Guards] = false;
    else
      throw new AppError('invalid', `"${name}" is no guard of the protocol`, {
        hint: `one of ${[...Object.keys(GUARDS), 'sigtermAsFence'].join(', ')}`,
      });
  }
  return { guards, sigtermAsFence };
}
